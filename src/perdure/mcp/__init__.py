"""`perdure mcp`: the operations as tools of the Model Context Protocol, for agents. Looks only, unless told otherwise.

`reading` and `writing` are the tools, `tool` is what each of them has, `answers` keeps an answer short, redacted, and
what comes from outside apart; `server` speaks the protocol, `commands` starts what executes scripts.
"""
