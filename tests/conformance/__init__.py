"""What both engines promise: every shape of workflow is run on each of them, and has to go the same way."""
