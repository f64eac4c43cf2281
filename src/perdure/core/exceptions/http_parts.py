"""How each kind of object of an HTTP client is taken apart, made again, and stood in for (`http_objects`).

`_take_...` gets an instance and what hides credentials in a text, and gives its parts: plain values, and instances of
other kinds. `_make_...` gets the class, as this process has it, and those parts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from perdure.core.exceptions.http_responses import RecordedResponse, bounded_body, kept_of, read
from perdure.core.exceptions.recorded_objects import NotRecorded, RecordedObject

Hide = Callable[[str], str]
Fields = dict[str, Any]

_LONGEST_REDIRECTED = 1_000
"""Bytes that are kept of the body of an answer that redirects."""
_MOST_REDIRECTS = 100


def _grouped(items: Iterable[tuple[Any, Any]]) -> Fields:
    """Headers by name: what stands under a secret name is known by that."""
    groups: dict[str, tuple[str, list[Any]]] = {}
    for name, value in items:
        plain = str.__str__(name)  # multidict's are of a class below str, by which no name is known to be secret
        groups.setdefault(plain.lower(), (plain, []))[1].append(value)
    return {"items": dict(groups.values())}


def _pairs(fields: Fields) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in fields["items"].items() for value in values]


def _lower_case(cls: Any, fields: Fields) -> dict[str, str]:
    del cls
    items = fields["items"].items()
    return {name.lower(): ", ".join(map(_text, values)) for name, values in items}


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _take_raw_headers(value: Any, hide: Hide) -> Fields:
    del hide
    return _grouped((name.decode("latin-1"), each) for name, each in value.raw)


def _make_raw_headers(cls: Any, fields: Fields) -> Any:
    return cls([(name.encode("latin-1"), each) for name, each in _pairs(fields)])


def _take_headers(value: Any, hide: Hide) -> Fields:
    del hide
    return _grouped(value.items())


def _make_headers(cls: Any, fields: Fields) -> Any:
    return cls(_pairs(fields))


def _make_headers_proxy(cls: Any, fields: Fields) -> Any:
    return cls(sys.modules["multidict"].CIMultiDict(_pairs(fields)))


def _take_message(value: Any, hide: Hide) -> Fields:
    payload = value.get_payload()
    if payload is not None and type(payload) is not str:
        raise TypeError("a message of several parts is more than headers")
    return _take_headers(value, hide) | {"payload": payload}


def _make_message(cls: Any, fields: Fields) -> Any:
    message = cls()
    for name, value in _pairs(fields):
        message[name] = value
    message.set_payload(fields.get("payload"))
    return message


def _take_url(value: Any, hide: Hide) -> Fields:
    del hide
    return {"text": str(value)}


def _make_url(cls: Any, fields: Fields) -> Any:
    return cls(fields["text"])


def _make_encoded_url(cls: Any, fields: Fields) -> Any:
    return cls(fields["text"], encoded=True)


def _url_as_text(cls: Any, fields: Fields) -> str:
    del cls
    return str(fields["text"])


def _take_file(value: Any, hide: Hide) -> Fields:
    del hide
    return {"closed": True} if value.closed else {"content": bounded_body(value.getvalue()), "at": value.tell()}


def _make_file(cls: Any, fields: Fields) -> Any:
    file = cls(fields.get("content", b""))
    file.seek(fields.get("at", 0))
    if fields.get("closed"):
        file.close()
    return file


def _take_cookies(value: Any, hide: Hide) -> Fields:
    del hide
    return {
        "cookie": [{each.name: each.value} for each in value],
        "places": [(each.domain, each.path) for each in value],
    }


def _make_cookies(cls: Any, fields: Fields) -> Any:
    jar = cls()
    for cookie, (domain, path) in zip(fields["cookie"], fields["places"], strict=True):
        for name, value in cookie.items():
            jar.set(name, value, domain=domain, path=path)
    return jar


def _clean(body: Any, encoding: Any, hide: Hide, longest: int | None = None) -> bytes | None:
    """The bytes of a body, without credentials in an encoding in which they would not be seen; None if it has none."""
    if not isinstance(body, bytes):
        return None
    body = bounded_body(body) if longest is None else bounded_body(body, longest)
    try:
        text = body.decode(encoding or "utf-8", "replace")
        hidden = hide(text)
        return bytes(body) if hidden == text else hidden.encode(encoding or "utf-8", "replace")
    except LookupError:  # no such encoding
        return bytes(body)


def _plain(extensions: Any) -> Fields:
    """What of httpx's extensions is data."""
    kept = {name: each for name, each in extensions.items() if type(each) in (bytes, str, int, float)}
    timeout = extensions.get("timeout")
    if type(timeout) is dict and all(type(each) in (int, float, type(None)) for each in timeout.values()):
        kept["timeout"] = timeout
    return kept


def _not_kept() -> Any:
    """What stands in for a stream of httpx that was not read."""
    httpx: Any = sys.modules["httpx"]

    def refuse(self: Any) -> Any:
        raise NotRecorded(
            "the body is not available: it was not read before the exception was saved, from which this was read back",
            name="stream",
            obj=self,
        )

    bases = (httpx.SyncByteStream, httpx.AsyncByteStream)
    return type("NotKept", bases, {"__iter__": refuse, "__aiter__": refuse})()


def _take_httpx_request(value: Any, hide: Hide) -> Fields:
    return {
        "method": value.method,
        "url": value.url,
        "headers": value.headers,
        "content": _clean(read(value, "content"), None, hide),
        "extensions": _plain(value.extensions),
    }


def _make_httpx_request(cls: Any, fields: Fields) -> Any:
    body = fields["content"]
    given = {"stream": _not_kept()} if body is None else {"content": body}
    request = cls(fields["method"], fields["url"], extensions=fields["extensions"], **given)
    request.headers = fields["headers"]  # those that the constructor adds were there, or were not
    return request


def _take_httpx_response(value: Any, hide: Hide) -> Fields:
    own = _httpx_answer(value, hide)
    redirects = [_httpx_answer(each, hide, _LONGEST_REDIRECTED) for each in value.history[:_MOST_REDIRECTS]]
    return own | {"history": redirects, "next_request": value.next_request}


def _httpx_answer(value: Any, hide: Hide, longest: int | None = None) -> Fields:
    body = read(value, "content")
    encoding = None if body is None else read(value, "encoding")
    return kept_of(value) | {
        "url": str(read(value, "url")),
        "headers": value.headers,
        "content": _clean(body, encoding, hide, longest),
        "encoding": encoding,
        "request": read(value, "request"),
        "extensions": _plain(value.extensions),
        "elapsed": read(value, "elapsed"),
        "downloaded": value.num_bytes_downloaded,
        "closed": value.is_closed,
    }


def _make_httpx_response(cls: Any, fields: Fields) -> Any:
    body = fields["content"]
    given = {"stream": _not_kept()} if body is None else {"content": body}
    # Without the headers: by "content-encoding" the body would be decoded a second time.
    response = cls(fields["status_code"], request=fields["request"], extensions=fields["extensions"], **given)
    response.headers = fields["headers"]
    response.is_closed = fields["closed"]
    if fields["encoding"] is not None:
        response.encoding = fields["encoding"]
    if fields["elapsed"] is not None:
        response.elapsed = fields["elapsed"]
    if "_num_bytes_downloaded" in vars(response):
        response._num_bytes_downloaded = fields["downloaded"]
    response.next_request = fields.get("next_request")
    return _with_redirects(cls, response, fields, _make_httpx_response)


def _with_redirects(cls: Any, response: Any, fields: Fields, make: Callable[[Any, Fields], Any]) -> Any:
    response.history = [make(cls, each) for each in fields.get("history", ())]
    for place, each in enumerate(response.history):  # each was redirected from those before it
        each.history = response.history[:place]
    return response


def _kind_of(value: Any) -> str:
    name = value._perdure_kind if type(value) is RecordedObject else type(value).__name__
    return str(name)


def _take_prepared(value: Any, hide: Hide) -> Fields:
    body = value.body
    kept = body if body is None or type(body) is str else _clean(body, None, hide)
    if type(kept) is str:
        kept = bounded_body(kept.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    stream = None if kept is body or isinstance(body, str | bytes) else _kind_of(body)
    return {"method": value.method, "url": value.url, "headers": value.headers, "body": kept, "stream": stream}


def _make_prepared(cls: Any, fields: Fields) -> Any:
    request = cls()
    request.method, request.url, request.headers = fields["method"], fields["url"], fields["headers"]
    request.body = fields["body"] if fields["stream"] is None else RecordedObject({}, fields["stream"])
    return request


def _take_response(value: Any, hide: Hide) -> Fields:
    redirects = [_answer(each, hide, _LONGEST_REDIRECTED) for each in value.history[:_MOST_REDIRECTS]]
    return _answer(value, hide) | {"history": redirects}


def _answer(value: Any, hide: Hide, longest: int | None = None) -> Fields:
    body = vars(value)["_content"]  # False where it has not been received, which is not waited for
    return kept_of(value) | {
        "url": value.url,
        "headers": value.headers,
        "content": _clean(body, value.encoding, hide, longest),
        "unread": body is False,
        "consumed": vars(value)["_content_consumed"],
        "encoding": value.encoding,
        "elapsed": value.elapsed,
        "cookies": value.cookies,
        "request": value.request,
        "raw": None if value.raw is None else _kind_of(value.raw),
    }


def _make_response(cls: Any, fields: Fields) -> Any:
    response = cls()
    for name in ("status_code", "reason", "url", "headers", "encoding", "elapsed", "cookies", "request"):
        setattr(response, name, fields.get(name))
    response._content = False if fields["unread"] else fields["content"]
    response._content_consumed = fields["consumed"]
    # What is read of it says that it was not kept.
    response.raw = None if fields["raw"] is None else RecordedObject({}, fields["raw"])
    return _with_redirects(cls, response, fields, _make_response)


def _take_request_info(value: Any, hide: Hide) -> Fields:
    del hide
    return {"url": value.url, "method": value.method, "headers": value.headers, "real_url": value.real_url}


def _make_request_info(cls: Any, fields: Fields) -> Any:
    return cls(fields["url"], fields["method"], fields["headers"], fields["real_url"])


def _take_client_response(value: Any, hide: Hide) -> Fields:
    del hide
    return kept_of(value) | {
        name: read(value, name)
        for name in ("method", "url", "real_url", "headers", "content_type", "charset", "request_info")
    }


def _take_recorded(value: Any, hide: Hide) -> Fields:
    del hide
    return dict(vars(value))


def _make_recorded(cls: Any, fields: Fields) -> RecordedResponse:
    del cls
    return RecordedResponse(fields)


_OF_A_RESPONSE = ("headers", "content", "encoding", "elapsed", "url")


def _recorded_response(cls: Any, fields: Fields) -> RecordedResponse:
    """Where the client is not loaded: what can be said without it."""
    del cls
    kept = kept_of(fields) | {name: fields[name] for name in _OF_A_RESPONSE if fields[name] is not None}
    if "content" in kept:
        kept["text"] = kept["content"].decode(fields["encoding"] or "utf-8", "replace")
    return RecordedResponse(kept)


def _recorded_request(cls: Any, fields: Fields) -> RecordedObject:
    del cls
    return RecordedObject(fields, "Request")


def _nothing(cls: Any, fields: Fields) -> Any:
    raise LookupError("there is _nothing that stands in for it")


RECORDED: Final = "perdure.core.exceptions.http_responses:RecordedResponse"
"""The label of what stands in for the response of any other client."""
KINDS: Final[dict[str, tuple[Callable[[Any, Hide], Fields], Callable[[Any, Fields], Any], Any]]] = {
    "httpx:URL": (_take_url, _make_url, _url_as_text),
    "httpx:Headers": (_take_raw_headers, _make_raw_headers, _lower_case),
    "httpx:Request": (_take_httpx_request, _make_httpx_request, _recorded_request),
    "httpx:Response": (_take_httpx_response, _make_httpx_response, _recorded_response),
    "requests.structures:CaseInsensitiveDict": (_take_headers, _make_headers, _lower_case),
    "requests.cookies:RequestsCookieJar": (_take_cookies, _make_cookies, _nothing),
    "requests:PreparedRequest": (_take_prepared, _make_prepared, _recorded_request),
    "requests:Response": (_take_response, _make_response, _recorded_response),
    "yarl:URL": (_take_url, _make_encoded_url, _url_as_text),
    "multidict:CIMultiDict": (_take_headers, _make_headers, _lower_case),
    "multidict:CIMultiDictProxy": (_take_headers, _make_headers_proxy, _lower_case),
    "aiohttp:RequestInfo": (_take_request_info, _make_request_info, _nothing),
    "aiohttp:ClientResponse": (_take_client_response, _make_recorded, _make_recorded),
    "email.message:Message": (_take_message, _make_message, _lower_case),
    "http.client:HTTPMessage": (_take_message, _make_message, _lower_case),
    "io:BytesIO": (_take_file, _make_file, _nothing),
    RECORDED: (_take_recorded, _make_recorded, _make_recorded),
}
"""Of each class: what takes an instance apart, what makes one, and what stands in for one."""
