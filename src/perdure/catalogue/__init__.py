"""The failure catalogue: `rules.toml` says what kind of failure an exception is, `entries/` holds a page for each kind.

All of it is data: it names nothing that is looked up, imported or executed.
"""
