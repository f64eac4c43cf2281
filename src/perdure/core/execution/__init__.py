"""The lives of a call, a map and a run: identity, replay, drift, clean-up, as generators of effects."""
