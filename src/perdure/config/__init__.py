"""Argument, environment, pyproject.toml, default: the settings in force; scripts as modules; known secrets."""
