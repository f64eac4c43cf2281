"""HTTP errors as the usual clients raise them."""

from __future__ import annotations

import email.message
import io
import urllib.error

import httpx
import pytest

NOW = 1_700_000_000.0


def from_httpx(status, headers=()):
    request = httpx.Request("GET", "http://api.test/")
    return httpx.HTTPStatusError(
        "", request=request, response=httpx.Response(status, headers=dict(headers), request=request)
    )


def from_requests(status, headers=()):
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code = status
    response.headers.update(dict(headers))
    return requests.HTTPError(response=response)


def from_urllib(status, headers=()):
    message = email.message.Message()
    for name, value in dict(headers).items():
        message[name] = value
    return urllib.error.HTTPError("http://api.test/", status, "", message, io.BytesIO())


def from_aiohttp(status, headers=()):
    aiohttp = pytest.importorskip("aiohttp")
    multidict = pytest.importorskip("multidict")
    return aiohttp.ClientResponseError(None, (), status=status, headers=multidict.CIMultiDict(headers))


class ClientError(Exception):
    """As botocore's: the answer is a dict, its headers in lower case."""

    def __init__(self, status, headers=(), code=""):
        self.response = {
            "Error": {"Code": code},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "HTTPHeaders": {k.lower(): v for k, v in dict(headers).items()},
            },
        }


class APIStatusError(Exception):
    """As openai's and anthropic's: `status_code` beside an httpx response."""

    def __init__(self, status, headers=(), code=None):
        self.status_code = status
        self.response = from_httpx(status, headers).response
        self.code = code


CLIENTS = [from_httpx, from_requests, from_urllib, from_aiohttp, ClientError, APIStatusError]
