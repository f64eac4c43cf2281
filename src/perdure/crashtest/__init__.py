"""`perdure crashtest`: kills a workflow at its commits and effects; does each resumed run end as if undisturbed?

`campaign` says what is tried, `lives` starts the processes, `life` is what happens in one of them (`effects` sees and
refuses, `points` kills), `scratch` keeps the copies. `reference` is what undisturbed runs have in common (`names`:
those that are another one in each run), and `judge` compares with it.
"""
