"""The static check of workflow scripts: reads source, and never imports or runs it.

`sources` finds and parses files; `project` follows imports between them; `names` says what an expression stands for;
`scan` collects what a function does; `reach` says what runs in a workflow and what in a step; `flow` traces clock,
chance and environment (`origins`); `rules/` judges, a file for each group, by what `libraries` knows; `catalogue` has
every code with its severity and fix; `renamed` compares with what unfinished runs have; `ignores` reads the comments
that silence a finding; `checker` puts it together. Standard library only.
"""
