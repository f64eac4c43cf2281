"""Crash tests: real processes, really killed, judged from outside. docs/testing.md tells how."""
