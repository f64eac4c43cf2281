"""What the commands do: functions that return values. Nothing here prints, and nothing here knows SQL."""
