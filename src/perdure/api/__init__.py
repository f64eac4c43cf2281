"""The public names: decorators, what they return, and the patterns that also work without a workflow."""
