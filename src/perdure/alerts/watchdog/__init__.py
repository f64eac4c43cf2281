"""A process of its own that sees how the process of a run ends, and sends the alert that it cannot."""
