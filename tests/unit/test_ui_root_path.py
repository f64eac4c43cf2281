"""`perdure ui --root-path`: below that path is what is there without it, for the guard too. And who can reach it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from listed_runs import Listed

from perdure.cli import main
from perdure.errors import OptionError
from perdure.operations.location import Location
from perdure.web import server
from perdure.web.app import make_app
from perdure.web.endpoints import Desk
from perdure.web.guard import Hosts
from perdure.web.jobs import Jobs
from perdure.web.session import Session

TOKEN = "a-token-for-tests-0123456789abcdefghij"


def asked(app: Any, path: str, *headers: tuple[str, str]) -> tuple[int, bytes]:
    """What an application answers to a GET."""
    found: list[Any] = []

    async def send(message: Any) -> None:
        found.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    given = [(b"host", b"127.0.0.1:1"), *((name.encode(), value.encode()) for name, value in headers)]
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": given, "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0"},
        "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return found[0]["status"], b"".join(one.get("body", b"") for one in found[1:])


def test_what_is_below_the_path(tmp_path: Path) -> None:
    """The shell names its assets below the path; views, assets and the API answer with it and without it (a proxy may
    take it away), and the token is needed for the same as ever. Forwarded headers name no path and no host."""
    desk = Desk(Location(tmp_path / "state.db", "a test"), True, Jobs())
    app = make_app(desk, Session(TOKEN), Hosts(("127.0.0.1:1",)), "/ops/perdure")
    for root in ("/ops/perdure", ""):
        status, shell = asked(app, f"{root}/runs")
        assert (status, b'src="/ops/perdure/assets/page.js"' in shell) == (200, True)
        assert asked(app, f"{root}/assets/page.js")[0] == 200
        assert asked(app, f"{root}/api/v1/openapi.json")[0] == 401
        assert asked(app, f"{root}/api/v1/openapi.json", ("authorization", f"Bearer {TOKEN}"))[0] == 200
    assert asked(app, "/ops/perdure")[0] == 200
    assert asked(app, "/ops/perdurex/assets/page.js")[0] == 401
    plain = make_app(desk, Session(TOKEN), Hosts(("127.0.0.1:1",)))
    for name in ("x-forwarded-prefix", "x-script-name", "x-forwarded-host"):
        assert b'"/assets/page.js"' in asked(plain, "/", (name, "/ops/perdure"))[1]
        assert asked(plain, "/ops/perdure/assets/page.js", (name, "/ops/perdure"))[0] == 401


ODD = ("eu/7", "50%", "a%2Fb", "%25", "..", ".", "é/ü", "a b?c#d")


@pytest.mark.parametrize("root", ["", "/ops"])
def test_names_in_addresses_may_be_anything(root: str, tmp_path: Path) -> None:
    """A run's own id is found by the API and has a view, whatever it is made of: of a `/` in it the address ends
    nowhere, and of dots alone a browser makes no way up."""
    listed = Listed(tmp_path / "state.db")
    for name in ODD:
        listed.run(name, "failed")
    listed.store.close()
    desk = Desk(Location(tmp_path / "state.db", "a test"), True, Jobs())
    app = make_app(desk, Session(TOKEN), Hosts(("127.0.0.1:1",)), root)
    for name in ODD:
        part = ("%00" if name.strip(".") == "" else "") + quote(name, safe="")
        assert asked(app, f"{root}/runs/{part}")[0] == 200
        status, body = asked(app, f"{root}/api/v1/runs/{part}", ("authorization", f"Bearer {TOKEN}"))
        assert (status, msgspec.json.decode(body)["run"]["id"]) == (200, name)


@pytest.mark.parametrize("path", ["perdure", "/perdure/", "/a//b", "/../x", '/"><script>', "/"])
def test_a_path_that_is_none_is_refused(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot stand in each address of the page is refused before anything is served."""
    assert main(["ui", "--root-path", path, "--no-open", "--state", str(tmp_path / "none.db")]) != 0
    assert "is no path" in capsys.readouterr().err


def test_others_reach_it_where_that_is_said_and_only_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another address than this machine's needs --allow-host, and what acts is there with --allow-actions alone."""
    served: list[bool] = []
    monkeypatch.setattr(server._Serving, "run", lambda serving, *_: served.append(serving._read_only))
    Listed(tmp_path / "state.db").store.close()
    location = Location(tmp_path / "state.db", "a test")
    with pytest.raises(OptionError, match="--allow-host does not say"):
        server.serve(location, server.Options(host="0.0.0.0", port=0), print)
    for options in (
        server.Options(port=0),
        server.Options(host="0.0.0.0", port=0, allow_hosts=("ops:443",)),
        server.Options(host="0.0.0.0", port=0, allow_hosts=("ops:443",), allow_actions=True),
    ):
        server.serve(location, options, print)
    assert served == [False, True, False]
