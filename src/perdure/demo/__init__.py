"""A misbehaving API on loopback, a workflow that is killed half way, and the proof that nothing was charged twice."""
