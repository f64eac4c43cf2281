"""What users touch: decorators, typed handles, and the patterns that also work alone."""
