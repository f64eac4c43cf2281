"""Who finds out: what an alert says, where it goes, and how it gets there once."""
