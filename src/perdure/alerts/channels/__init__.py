"""Where alerts go: each kind of target sends one text within a few seconds."""
