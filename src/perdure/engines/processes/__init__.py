"""Attempts in other processes of this machine: `isolate=True` and `map(processes=)`.

The parent's side is isolated_step, worker_pool and, below them, template and child_process; template_main and child are
the programs of the others. docs/decisions/0057-processes-for-steps.md says why.
"""
