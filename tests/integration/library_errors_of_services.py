"""Exceptions of HTTP clients and of the clients of services."""

from __future__ import annotations

from typing import Any

from library_error_makers import error, simple


@error("httpx")
def httpx_status(httpx: Any) -> None:
    request = httpx.Request("GET", "https://example.org/a")
    httpx.Response(404, request=request, text="no").raise_for_status()


@error("httpx")
def httpx_connect(httpx: Any) -> None:
    httpx.get("http://127.0.0.1:1/")


@error("requests")
def requests_status(requests: Any) -> None:
    answer = requests.Response()
    answer.status_code, answer.url, answer._content = 503, "https://example.org/", b"busy"
    answer.raise_for_status()


@error("requests")
def requests_connect(requests: Any) -> None:
    requests.get("http://127.0.0.1:1/")


@error("requests")
def requests_json(requests: Any) -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 200, b"no json"
    answer.json()


@error("urllib.request")
def urllib_refused(request: Any) -> None:
    request.urlopen("http://127.0.0.1:1/")


@error("urllib.error")
def urllib_status(error: Any) -> Any:
    return error.HTTPError("https://example.org", 404, "Not Found", {"a": "b"}, None)


simple(
    "urllib3.exceptions",
    retry=lambda m: m.MaxRetryError(None, "/x", m.ProtocolError("aborted")),
    timeout=lambda m: m.ReadTimeoutError(None, "/x", "timed out"),
    incomplete=lambda m: m.IncompleteRead(3, 7),
    location=lambda m: m.LocationParseError("//"),
)


@error("aiohttp")
def aiohttp_status(aiohttp: Any) -> Any:
    from yarl import URL

    info = aiohttp.RequestInfo(URL("https://example.org"), "GET", {}, URL("https://example.org"))
    return aiohttp.ClientResponseError(info, (), status=429, message="slow down", headers={"Retry-After": "3"})


@error("aiohttp")
def aiohttp_connector(aiohttp: Any) -> Any:
    from aiohttp.client_reqrep import ConnectionKey

    key = ConnectionKey("h", 1, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, OSError(111, "refused"))


simple("aiohttp", payload=lambda m: m.ClientPayloadError("cut"), gone=lambda m: m.ServerDisconnectedError())
simple("http.client", incomplete=lambda m: m.IncompleteRead(b"abc", 7), status=lambda m: m.BadStatusLine("x"))


@error("botocore.exceptions")
def botocore_client(m: Any) -> Any:
    return m.ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "GetObject")


@error("boto3")
def boto3_dynamic(boto3: Any) -> Any:
    client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
    return client.exceptions.NoSuchKey({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "GetObject")


simple(
    "botocore.exceptions",
    credentials=lambda m: m.NoCredentialsError(),
    endpoint=lambda m: m.EndpointConnectionError(endpoint_url="https://s3"),
    timeout=lambda m: m.ReadTimeoutError(endpoint_url="https://s3"),
    waiter=lambda m: m.WaiterError("exists", "Max attempts", {"a": 1}),
)


def response(status: int) -> Any:
    import httpx

    return httpx.Response(status, request=httpx.Request("POST", "https://api"), json={"error": {"message": "no"}})


simple(
    "openai",
    limit=lambda m: m.RateLimitError("slow", response=response(429), body={"code": "rate"}),
    connection=lambda m: m.APIConnectionError(request=response(500).request),
    length=lambda m: m.BadRequestError("too long", response=response(400), body=None),
)
simple(
    "anthropic",
    overloaded=lambda m: m.InternalServerError("overloaded", response=response(529), body={"type": "error"}),
    timeout=lambda m: m.APITimeoutError(request=response(500).request),
)
simple(
    "stripe",
    card=lambda m: m.CardError("declined", "number", "card_declined", http_status=402, json_body={"error": {}}),
    limit=lambda m: m.RateLimitError("slow", http_status=429),
)
simple(
    "google.api_core.exceptions",
    missing=lambda m: m.NotFound("gone", errors=[1]),
    limit=lambda m: m.ResourceExhausted("quota"),
    retry=lambda m: m.RetryError("deadline", ValueError("x")),
)
simple("redis", timeout=lambda m: m.TimeoutError("t"), answer=lambda m: m.ResponseError("WRONGTYPE"))
simple("redis.exceptions", moved=lambda m: m.MovedError("1 127.0.0.1:7000"))
simple(
    "pymongo.errors",
    duplicate=lambda m: m.DuplicateKeyError("E11000", 11000, {"keyValue": {"a": 1}}),
    bulk=lambda m: m.BulkWriteError({"writeErrors": [{"code": 1}]}),
    reconnect=lambda m: m.AutoReconnect("gone", ["h:1"]),
)
simple(
    "elasticsearch",
    missing=lambda m: m.NotFoundError("nf", _meta(404), {"found": False}),
    connection=lambda m: m.ConnectionError("refused"),
)
simple("minio.error", server=lambda m: m.ServerError("busy", 503))
simple("kafka.errors", brokers=lambda m: m.NoBrokersAvailable(), code=lambda m: m.NotLeaderForPartitionError("x"))


def _meta(status: int) -> Any:
    from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig

    return ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, NodeConfig("http", "h", 1))
