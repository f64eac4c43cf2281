"""`perdure ui`: one state file in a browser. It holds nothing of its own: the file is the truth.

`server` listens, `guard` refuses what is not for it before anything is looked up, `session` has the token and the codes
that are exchanged for it, `app` puts the routes together, `reading` has the addresses that look, `acting` those that
change something, `jobs` the commands that these start, `live` says that something has changed, `answers` writes what
is answered. `page/` is what the browser gets.
"""
