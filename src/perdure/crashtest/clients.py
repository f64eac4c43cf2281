"""What is seen of libraries: requests of clients of HTTP and mail, commits of sqlite3, who starts a thread."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from perdure.crashtest.effects import SAFE_METHODS, Effect, Effects
from perdure.crashtest.kept_rows import alerted, enqueued, sent
from perdure.engines.interface import StepContext, here


def watch(effects: Effects) -> None:
    """Watch the clients that are loaded, and those that will be."""
    patches: dict[str, Callable[[Any], None]] = {
        "http.client": lambda module: _http_client(module, effects),
        "httpx": lambda module: _httpx(module, effects),
        "aiohttp": lambda module: _aiohttp(module, effects),
        "smtplib": lambda module: _smtplib(module, effects),
        "multiprocessing.util": lambda module: _multiprocessing(module, effects),
        "threading": lambda module: _threading(module, effects),
        "sqlite3": lambda module: _sqlite(module, effects),
        "concurrent.futures.thread": lambda module: _thread_pool(module, effects),
        "perdure.engines.runtime.command": _programs,
        "perdure.api.enqueue": lambda module: _enqueues(module, effects),
        "perdure.api.signals": lambda module: _signals(module, effects),
        "perdure.api.alert": lambda module: _alerts(module, effects),
    }
    for name in [name for name in patches if name in sys.modules]:
        patches.pop(name)(sys.modules[name])
    sys.meta_path.insert(0, _Finder(patches))


class _Finder(importlib.abc.MetaPathFinder):
    """Lets each module be loaded as ever, and patches it then."""

    def __init__(self, patches: dict[str, Callable[[ModuleType], None]]) -> None:
        self._patches = patches

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec that the others find, with a loader that patches."""
        patch = self._patches.pop(name, None)
        if patch is None:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec is not None and spec.loader is not None:
                loader: Any = spec.loader
                loader.exec_module = _then(loader.exec_module, patch)
                return spec
        return None


def _then(load: Callable[[ModuleType], None], patch: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def exec_module(module: ModuleType) -> None:
        load(module)
        patch(module)

    return exec_module


def _enqueues(module: Any, effects: Effects) -> None:
    """Runs that are put into queues, but by the workflow itself, where that and its record are one transaction."""
    around = module._around

    def asked(spec: Any) -> Any:
        scope = around(spec)
        if scope is None:
            effects.effect("enqueue", enqueued(spec.name))
        return scope

    module._around = asked


def _signals(module: Any, effects: Effects) -> None:
    """Signals, but those of the workflow itself, which have an id."""
    checked = module._checked

    def asked(run: Any, event: Any, *more: Any) -> Any:
        packed = checked(run, event, *more)
        if (context := here.get()) is None or isinstance(context, StepContext):
            effects.effect("signal", sent(event))
        return packed

    module._checked = asked


def _alerts(module: Any, effects: Effects) -> None:
    """Alerts of steps; those of the workflow itself are steps of perdure's own. None is sent here."""

    def sending(text: str, level: str, script: str, context: Any) -> bool:
        if isinstance(context, StepContext) and context.call.spec.record_kind == "step":
            effects.effect("alert", alerted(text))
        return False

    module._send = sending


def _http_client(module: Any, effects: Effects) -> None:
    """http.client, and what is built on it: urllib, requests, urllib3, botocore."""
    under_way: dict[int, Effect] = {}
    connection = module.HTTPConnection
    send, answer = connection.send, connection.getresponse

    def sending(self: Any, data: Any) -> Any:
        head = bytes(data) if isinstance(data, bytes | bytearray | memoryview) else None
        line = head.partition(b"\r\n")[0].split(b" ") if head is not None else []
        if len(line) == 3 and line[2].startswith(b"HTTP/"):
            under_way.pop(id(self), None)
            method = line[0].decode("latin-1")
            if method not in SAFE_METHODS and method != "CONNECT":
                scheme = "https" if hasattr(self, "_context") else "http"
                target = line[1].decode("latin-1")
                if self.sock is None and self.auto_open:
                    self.connect()  # as `send` does: where that is refused, nothing is sent
                url = target if "://" in target else f"{scheme}://{self.host}:{self.port}{target}"
                under_way[id(self)] = effects.effect("http", f"{method} {_without_query(url)}", (head,))
        elif id(self) in under_way:
            effects.also_sent(under_way[id(self)], data if head is None else head)
        return send(self, data)

    def answered(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = answer(self, *args, **kwargs)
        effect = under_way.pop(id(self), None)
        if effect is not None:
            effects.performed(effect.step)
        return response

    connection.send, connection.getresponse = sending, answered


def _httpx(module: Any, effects: Effects) -> None:
    client, aclient = module.Client, module.AsyncClient
    send, asend = client.send, aclient.send

    def begin(request: Any) -> Effect | None:
        if request.method in SAFE_METHODS:
            return None
        body = request.content if hasattr(request, "_content") else b""
        return effects.effect("http", f"{request.method} {_without_query(request.url)}", (request.headers, body))

    def sending(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        effect = begin(request)
        with effects.unless_refused(effect):
            response = send(self, request, *args, **kwargs)
        if effect is not None:
            effects.performed(effect.step)
        return response

    async def asending(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        effect = begin(request)
        with effects.unless_refused(effect):
            response = await asend(self, request, *args, **kwargs)
        if effect is not None:
            effects.performed(effect.step)
        return response

    client.send, aclient.send = sending, asending


def _aiohttp(module: Any, effects: Effects) -> None:
    session = module.ClientSession
    request = session._request

    async def requesting(self: Any, method: str, url: Any, **kwargs: Any) -> Any:
        effect = None
        if method.upper() not in SAFE_METHODS:
            sent = [kwargs.get(each) for each in ("headers", "json", "data", "params")]
            effect = effects.effect("http", f"{method.upper()} {_without_query(url)}", (url, self.headers, *sent))
        with effects.unless_refused(effect):
            response = await request(self, method, url, **kwargs)
        if effect is not None:
            effects.performed(effect.step)
        return response

    session._request = requesting


def _smtplib(module: Any, effects: Effects) -> None:
    data = module.SMTP.data

    def sending(self: Any, message: Any) -> Any:
        effect = effects.effect("mail", f"mail by {self._host}", (message,))
        answer = data(self, message)
        effects.performed(effect.step)
        return answer

    module.SMTP.data = sending


def _multiprocessing(module: Any, effects: Effects) -> None:
    spawn = module.spawnv_passfds

    def spawning(path: Any, args: Any, passfds: Any) -> Any:
        effects.interpreter(args)
        return spawn(path, args, passfds)

    module.spawnv_passfds = spawning


def _sqlite(module: Any, effects: Effects) -> None:
    connect = module.connect

    def connecting(*args: Any, **kwargs: Any) -> Any:
        connection = connect(*args, **kwargs)
        effects.watch_commits(connection)
        return connection

    module.connect = module.dbapi2.connect = connecting


def _threading(module: Any, effects: Effects) -> None:
    start = module.Thread.start

    def starting(self: Any) -> None:
        effects.thread_starts(self)
        start(self)

    module.Thread.start = starting


def _programs(module: Any) -> None:
    """`perdure.sh` starts its program on the thread of the step, whose step and lines are seen there.

    What a timeout leaves of it when it breaks in just then is ended with the life.
    """
    module._uninterrupted = lambda start, program: start()


def _thread_pool(module: Any, effects: Effects) -> None:
    submit = module.ThreadPoolExecutor.submit

    def submitting(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return submit(self, effects.of_this_step(function), *args, **kwargs)

    module.ThreadPoolExecutor.submit = submitting


def _without_query(url: Any) -> str:
    """Credentials stand in queries more often than elsewhere, and they tell no request from another here."""
    text = str(url).partition("?")[0].partition("#")[0]
    scheme, found, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else text
