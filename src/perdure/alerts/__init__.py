"""Alerts: the way of each from a run to a person.

1. Something happens. A run ends (`run_alerts`), its process dies or hangs (`crash_alerts`), its state file cannot be
   used (`unusable_state`), or a script calls `perdure.alert()`. Each makes an `alert.Alert`, whose texts are redacted
   while it is made (`sanitize`).
2. `recipients` finds the addresses that the workflow, the environment or pyproject.toml names, and
   `channels.target_address` makes a `Target` of each.
3. `spool` accepts the alert. `open_incidents` remembers that the run is in trouble, and `dedup` compares the alert with
   those of the last 15 minutes: a repetition is counted, and goes no further.
4. The alert becomes a file in the `retry_queue` of each target, written whole and fsynced (`atomic_files`). From here
   on it is not lost.
5. `sender` delivers: all targets at once, to each the oldest alert first. A channel in `channels/` sends one alert and
   has 5 s for it (`channels.send_timeout`).
6. Delivered, the file is removed. Failed, it stays with the reason and the time of the next try: after 15 s, then twice
   as long each time, up to 15 minutes. A file that cannot be read is set aside and reported, and blocks no other.
7. When the 15 minutes are over, what was counted is sent as one summary, with the next alert or run.

In a run, step 5 is the work of another process, which `watchdog/` starts: no step waits for a channel. It also sees how
the run's own process ends: crash alerts come from there. Beside all this, `heartbeat` pings a service that raises the
alarm when it hears nothing (`heartbeat_thread` sends the pings of one run).
"""
