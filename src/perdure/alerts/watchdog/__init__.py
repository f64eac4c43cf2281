"""The watchdog: a process of its own that sees how the process of a run ends, and sends the alert that it cannot.

The run's process starts it and writes to it (`client`). It watches (`process`), finds out how the run's process ended
(`exit_cause`), and starts a full Python that writes and sends the crash alert (`report`).
"""
