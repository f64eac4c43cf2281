"""Pure decisions: no I/O, clock, threads or randomness."""
