"""Retry, breaker and rate as pure state machines; the class of a failure."""
