"""Who is notified of what an engine does: the log, JSON lines, OpenTelemetry, the live view."""
