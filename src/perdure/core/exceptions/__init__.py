"""An exception as data, and back."""
