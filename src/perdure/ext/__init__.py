"""Adapters: agents of other libraries whose model requests and tool calls are steps. Each is an extra of perdure.

`agent_steps` is what they share: which steps an agent has, what identifies a call of one, and what it has spent.
"""
