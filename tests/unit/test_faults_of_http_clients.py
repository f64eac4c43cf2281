"""An HTTP client's error answers on resume what it answered when it was raised, whatever a handler asks it."""

from __future__ import annotations

import base64
import datetime
import email.message
import io
import sys
import urllib.error
from http.client import HTTPMessage

import httpx
import pytest
from raised_errors import again, raised

from perdure.core.exceptions import capture, http_objects, http_parts
from perdure.core.exceptions.recorded_objects import RecordedObject

URL = "http://api.test/orders?a=1"
BODY = b'{"error": "poison"}'
HEADERS = {
    "X-Trace": "t1",
    "Content-Type": "application/json; charset=utf-8",
    "Link": '<http://api.test/2>; rel="next"',
}
FIRST = "http://old.test/"


def of_urllib(body: bytes = BODY) -> urllib.error.HTTPError:
    headers = HTTPMessage()
    for name, value in (*HEADERS.items(), ("Via", "one"), ("Via", "two")):
        headers[name] = value
    return urllib.error.HTTPError(URL, 422, "Unprocessable Entity", headers, io.BytesIO(body))


def of_httpx(body: bytes = BODY, **request) -> Exception:
    sent = httpx.Request("POST", URL, **(request or {"json": {"order": 7}}))
    first = httpx.Response(307, headers={"Location": URL}, request=httpx.Request("POST", FIRST))
    answer = httpx.Response(
        422,
        headers=[*HEADERS.items(), ("Via", "one"), ("Via", "two")],
        content=body,
        request=sent,
        history=[first],
        extensions={"http_version": b"HTTP/2", "reason_phrase": b"No Such Order", "network_stream": object()},
    )
    answer.headers["Content-Encoding"] = "gzip"  # the body has been decoded
    answer.elapsed = datetime.timedelta(seconds=1.5)
    return raised(answer.raise_for_status)


def of_requests(body: bytes = BODY, data: object = b"order=7") -> Exception:
    requests = pytest.importorskip("requests")
    answers = []
    for status, url, headers in ((307, FIRST, {"Location": URL}), (422, URL, HEADERS)):
        answer = requests.Response()
        answer.status_code, answer.url, answer.reason, answer.encoding = status, url, "Unprocessable Entity", "utf-8"
        answer.headers.update(headers)
        answer.elapsed = datetime.timedelta(seconds=1.5)
        answer.cookies.set("lang", "en", domain="api.test", path="/")
        answer.request = requests.Request("POST", url, data=data, headers={"X-Mine": "m"}).prepare()
        answer._content, answer._content_consumed = body, True
        answer.history = list(answers)
        answers.append(answer)
    return raised(answers[-1].raise_for_status)


def of_aiohttp() -> Exception:
    aiohttp = pytest.importorskip("aiohttp")
    multidict, yarl = pytest.importorskip("multidict"), pytest.importorskip("yarl")
    headers = multidict.CIMultiDictProxy(multidict.CIMultiDict([*HEADERS.items(), ("Via", "one"), ("Via", "two")]))
    info = aiohttp.RequestInfo(yarl.URL(URL), "POST", headers, yarl.URL(f"{URL}#here"))
    return aiohttp.ContentTypeError(info, (), status=422, message="no JSON", headers=headers)


# The values of cookies are hidden.
OF_A_RESPONSE = """
    status_code  ok url  reason  encoding  content  text  json()  elapsed  links  is_redirect
    headers['x-trace']  headers.get('X-TRACE')  dict(headers)  history[0].status_code  history[0].url
    history[0].headers['location']  history[0].history  request.url  request.method  dict(request.headers)
    list(iter_lines())  list(iter_bytes())  read()  reason_phrase  http_version  num_bytes_downloaded  next_request
    is_success  is_error  is_client_error  is_server_error  has_redirect_location  headers.get_list('via')
    headers.multi_items()  charset_encoding  request.content  request.body  request.read()  is_closed  apparent_encoding
    cookies.keys() cookies.list_domains()  close()  __class__
    raise_for_status()  is_permanent_redirect  stream.__class__
"""
OF_A_REQUEST = """
    url  method  headers['host']  dict(headers)  content  body  path_url  url.path  url.params['a']  url.host  read()
    __class__  headers.get('x-mine')  extensions
"""
OF_URLLIB = """
    e.read(4)  e.fp.read()  e.read()  e.code  e.reason  e.msg  e.status  e.headers['X-Trace']  e.headers.get('x-trace')
    e.headers.get_all('Via')  e.hdrs.items()  e.url  e.geturl()  e.getcode()  e.filename  e.info()['x-trace']
    e.headers.get_content_charset()  e.close()  e.closed
"""
OF_AIOHTTP = """
    e.status  e.message  e.code  e.headers['x-trace']  e.headers.getall('Via')  e.headers  e.history  e.request_info
    e.request_info.url  e.request_info.url.query['a']  e.request_info.real_url  e.request_info.method
    e.request_info.headers['X-Trace']
"""


def of(owner: str, asked: str) -> list[str]:
    """What is asked of an attribute of the exception: `e.response.url`, `dict(e.response.headers)`."""
    calls = ("dict(", "list(", "bool(")
    return [
        each.replace("(", f"({owner}.", 1) if each.startswith(calls) else f"{owner}.{each}" for each in asked.split()
    ]


OF_A_CLIENT = ["bool(e.response)", *of("e.response", OF_A_RESPONSE), *of("e.request", OF_A_REQUEST)]
ASKED = {
    of_urllib: OF_URLLIB.split(),
    of_aiohttp: OF_AIOHTTP.split(),
    of_httpx: OF_A_CLIENT,
    of_requests: OF_A_CLIENT,
}
OF_EACH = ["str(e)", "repr(e)", "e.args", "e.__class__"]


def answers(exc: Exception, asked: list[str]) -> dict[str, str]:
    """What it answers, in this order: an error is an answer, too."""
    found = {}
    for each in asked:
        try:
            found[each] = repr(eval(each, {"e": exc}))
        except Exception as raised_again:
            found[each] = f"{type(raised_again).__name__}: {raised_again}"
    return found


@pytest.mark.filterwarnings("ignore:code property is deprecated")
@pytest.mark.parametrize("make", list(ASKED), ids=lambda make: make.__name__)
def test_an_error_answers_in_each_life_what_it_did_in_the_first(make):
    """Method and attribute of the exception, its request and its response; also of what was saved twice."""
    back, twice = again(make()), again(again(make()))
    asked = [*OF_EACH, *ASKED[make]]
    expected = answers(make(), asked)
    assert answers(back, asked) == expected
    assert answers(twice, asked) == expected


@pytest.mark.parametrize("make", [of_urllib, of_httpx])
def test_a_body_that_is_cut_says_so(make):
    """The beginning of a long body is kept, and a word that there was more."""
    back = again(make(b" said" * 50_000))
    body = back.read() if make is of_urllib else back.response.content
    assert len(body) == 100_000
    assert body.startswith(b" said said")
    assert body.endswith(b"[... perdure keeps the first 100,000 bytes of a body ...]")


@pytest.mark.parametrize("make", [of_httpx, of_requests])
def test_a_body_that_was_not_read_is_not_waited_for(make):
    """What is recorded reads no connection: of the answer of a stream there is what there was, without a body."""
    exc = make()
    if make is of_httpx:
        answer = httpx.Response(500, stream=httpx.ByteStream(b"x"), request=exc.request)
        late = httpx.HTTPStatusError("late", request=exc.request, response=answer)
    else:
        late = exc
        late.response._content, late.response._content_consumed, late.response.raw = False, False, io.BytesIO(b"late")
    back = again(late)
    assert back.response.status_code == late.response.status_code
    with pytest.raises(AttributeError, match=r"was not read before|read back from (its|a) record"):
        back.response.read() if make is of_httpx else back.response.content
    if make is of_requests:
        assert late.response.raw.tell() == 0


def test_what_was_sent_as_a_stream_says_that_it_is_not_kept():
    """A request whose body was a generator: nothing stands for its bytes."""
    sent = again(of_requests(data=iter([b"x"]))).request
    with pytest.raises(AttributeError, match=r"read back from (its|a) record"):
        sent.body.read()
    with pytest.raises(httpx.RequestNotRead):
        _ = again(of_httpx(content=iter([b"x"]))).request.content


def test_a_failure_before_any_answer_keeps_its_request():
    """`ConnectError.request.url`, as requests' and httpx's own errors have it."""
    request = httpx.Request("GET", URL, headers={"X-Mine": "m"})
    back = again(httpx.ConnectError("refused", request=request))
    assert (back.request.url, back.request.headers) == (request.url, request.headers)
    assert back.request.url.host == "api.test"
    requests = pytest.importorskip("requests")
    sent = requests.Request("GET", URL).prepare()
    assert again(requests.ConnectionError("refused", request=sent)).request.url == URL


def credentials():
    secret = "hunter2correcthorse"
    login = {"Authorization": f"Bearer {secret}", "Cookie": f"session={secret}", "X-Api-Key": secret}
    url = f"https://bob:{secret}@api.test/?access_token={secret}"
    body = f'{{"password": "{secret}"}}'
    request = httpx.Request("POST", url, headers=login, content=body.encode())
    answer = httpx.Response(
        401, headers={"Set-Cookie": f"session={secret}", "X-Trace": "t1"}, content=body.encode(), request=request
    )
    yield secret, httpx.HTTPStatusError("no", request=request, response=answer)
    wide = httpx.Response(
        401, headers={"Content-Type": "text/plain; charset=utf-16"}, content=body.encode("utf-16"), request=request
    )
    yield secret, httpx.HTTPStatusError("no", request=request, response=wide)
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code, response.url, response._content = 401, url, body.encode()
    response.cookies.set("session", secret)
    response.headers["Set-Cookie"] = f"session={secret}"
    response.request = requests.Request("POST", url, headers=login, data={"password": secret}).prepare()
    yield secret, requests.HTTPError("no", response=response)
    headers = email.message.Message()
    headers["Set-Cookie"] = f"session={secret}"
    yield secret, urllib.error.HTTPError(url, 401, "no", headers, io.BytesIO(body.encode()))
    aiohttp, multidict = pytest.importorskip("aiohttp"), pytest.importorskip("multidict")
    kept = multidict.CIMultiDictProxy(multidict.CIMultiDict(login))
    info = aiohttp.RequestInfo(pytest.importorskip("yarl").URL(url), "POST", kept)
    yield secret, aiohttp.ClientResponseError(info, (), status=401, headers=kept)


def test_no_credential_of_a_request_or_an_answer_is_kept():
    """In the address, under the name of a header, in a cookie, and in a body of any encoding."""
    for secret, exc in credentials():
        data = capture.encode(capture.to_fault(exc))
        for form in (secret.encode(), secret.encode("utf-16-le")):
            assert form not in data, exc
        back = again(exc)
        assert isinstance(back, type(exc))
        if isinstance(exc, httpx.HTTPError):
            assert (back.request.url.host, back.request.headers["authorization"]) == ("api.test", "***")


def test_where_the_client_is_not_loaded_the_answer_is_stood_in_for(monkeypatch):
    """Nothing is imported for it, and what can be said without it is said."""
    data = capture.encode(capture.to_fault(of_httpx()))
    monkeypatch.delitem(sys.modules, "httpx")
    back = capture.restore(capture.decode(data))
    assert "httpx" not in sys.modules
    assert (back.response.status_code, back.response.url, back.response.json()) == (422, URL, {"error": "poison"})
    assert (back.response.headers["x-trace"], back.response.is_error) == ("t1", True)
    assert (back.response.is_success, back.response.is_redirect, back.response.is_client_error) == (False, False, True)
    with pytest.raises(AttributeError, match="'request' of this response is not available"):
        _ = back.response.request
    assert (back._request.method, back._request.url) == ("POST", URL)
    assert again(back).response.text == BODY.decode()


def test_an_answer_of_another_client_is_stood_in_for():
    """Whatever has a status and headers: what it says is kept."""
    exc = ValueError("x")
    exc.response = type("Answer", (), {})()
    vars(exc.response).update(status_code=503, headers={"Retry-After": "3"}, url=URL, content=BODY, ok=False)
    back = again(again(exc)).response
    assert (back.status_code, back.headers, back.url) == (503, {"retry-after": "3"}, URL)
    assert (back.json(), bool(back)) == ({"error": "poison"}, False)
    assert "503" in repr(back)
    with pytest.raises(AttributeError, match="'elapsed' of this response is not available"):
        _ = back.elapsed


@pytest.mark.parametrize("label", list(http_parts.KINDS))
def test_damaged_parts_become_an_object_without_a_class(label):
    """What a file says of an object of a client is checked by the client, and never more than data."""
    for fields in ({}, {"items": 3}, {"text": 3, "content": "x", "status_code": "x", "headers": [], "url": {}}):
        made = http_objects.made(label, fields)
        assert (
            label == http_parts.RECORDED
            or label == "aiohttp:ClientResponse"
            or isinstance(made, RecordedObject | io.BytesIO | str | httpx.URL)
        )


def test_errors_that_were_saved_before_are_read_as_they_were():
    """A record without the parts of a request: the answer is a stand-in for its response."""
    back = capture.restore(capture.decode(base64.b85decode(BEFORE)))
    assert isinstance(back, httpx.HTTPStatusError)
    assert (back.response.status_code, back.response.json(), back.response.url) == (
        422,
        {"error": "poison"},
        "http://api.test/orders",
    )
    assert back.request.method == "POST"
    with pytest.raises(AttributeError, match="read back from a record without 'url'"):
        _ = back.request.url


BEFORE = (
    "-T()tZEs|CY-OcrbaZfdsBv{+Y;Iv~Wv@t7R8UiNVRUtKMRIa)a;0Knb7gaqlBH;LbZ~g7NK{l%MRIa)a+0WGb!lvLX>N0=MR;RnaCB*JZl`T!b8"
    "}&5W!a%aY-wd~bRcDNa&K}VCp0oLAXRQ~a&Kd0b8}&0Y-J!tZggpMc_$!dZ*m}Ya%><cXmoUNIxjC_aA_`dWpi{dZ*pX1a&spNMsIQ;ZEtdAAZc!"
    "9Z*py6bZKvHAY*7{V{1AfXmoUNb2=|CWMy_`Y;SO7axQIedTDHIVJ>fSXD?-LEmc!5WN%}0FIQz^FGy5WP%l$-VRUtKFElbTq+xPrbCJZO*`Y&hX"
    "=QG7AZ2oLZ*m|fG%_+ERc>%{Z)0V1b75j^WgtavbZK;XCm?2Tav*hbY#=9SbaZe!FE3$mX)bhSb966na%5$4b0-Q$Z*m}QZ*pZIX>Mk3a&2LBX>V"
    ">IV`yb#YdRokbaZfYIxjC|Wp-t3Z*XODE^TjmX>4p^E^l&YFJ*2mRZ}lyZ)0;WS7l-^NK{l%FH>}3baittG%_-(VRUqIX<~JBWpjb3Uvgz}b!BsO"
    "#5l(_Ae60WbaZfdI#OkEb!BsOgQjg|bZBp6q)<;&RH|iobY*UHX>V?GfT&+%Z*FvDZgj)|fWoPAWpi+EZgXXGfv9q2b8v5Nb7jQVh^upSVRUtKUt"
    "@1%Wz7Mmt#V~yb8l{6aA<O2b7izuZg6sMV`X!5VPb4$AVqF;X>@t0X>(s?a&m8S!>?&`Ut?@(Wo~p|WpZ+Fa>K7_b6<01a&~2MUuAM~Z*sz?Xk}q"
    "!WpZ<ar+6)Na$#d-qI5B?V{dMBWo~pWY-Mg|bZDY6IILrDZggdCbS-pwaAmMzaBysCV_|e@Z*DJYb8l{=b#iRBXmoUNIxjC_aA_`dWpi{dZ*pX1a"
    "&x3~Wq5S5dm?3Wa&K}XIwEjyX>)IGB7F"
)
