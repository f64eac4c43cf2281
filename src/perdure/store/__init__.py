"""One SQLite file: what every run has finished, and who holds which run."""
