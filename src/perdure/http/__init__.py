"""Links over HTTP: an ASGI app that answers approvals and takes signals, by token. `import perdure.http`.

`app` mounts in any ASGI application; `perdure worker --http` serves it beside a worker (`server.py`). It needs
`pip install "perdure[web]"`. `requests.py` reads what was posted, `pages.py` has the few pages.
"""

from perdure.http.app import app

__all__ = ["app"]
