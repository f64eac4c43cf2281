"""`python -m perdure` is the `perdure` command."""

from perdure.cli import entry

if __name__ == "__main__":
    entry()
