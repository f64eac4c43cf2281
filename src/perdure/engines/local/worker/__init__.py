"""The worker of one machine: executes the runs of scripts that are due, queued, or were left by a process that died.

The *supervisor* has no code of the user's: it keeps the clock, wakes the executors, starts new ones when one dies or a
script is edited, and alerts. An *executor* is a process of its own that loads the scripts once, claims runs and
executes them. They talk through a socket: when the supervisor dies, the executors see it close and give their runs
back.
"""
