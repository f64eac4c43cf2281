"""An exception as data, and back: `capture` is the door, `fault` the data."""
