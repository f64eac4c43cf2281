"""The rules, a file for each group; `checker` asks them about each place where a step or workflow runs."""
