"""The commands: what each takes from the command line, and which operation it calls."""
