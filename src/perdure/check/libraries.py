"""What is known of libraries, by the names that `names` gives: what talks to the outside, what has a timeout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from perdure.core.redaction.names import words

Outside = Literal["HTTP", "a model", "mail", "a database", "a program", "a service"]

VERBS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "stream", "send"})
MODEL_CLIENTS = (
    "openai.OpenAI()", "openai.AsyncOpenAI()", "openai.AzureOpenAI()", "openai.AsyncAzureOpenAI()",
    "anthropic.Anthropic()", "anthropic.AsyncAnthropic()", "anthropic.AnthropicBedrock()",
    "anthropic.AnthropicVertex()",
)  # fmt: skip
MODELS = (
    *MODEL_CLIENTS, "mistralai.Mistral()", "google.genai.Client()", "google.generativeai.GenerativeModel()",
    "cohere.Client()",
    "cohere.ClientV2()", "groq.Groq()", "groq.AsyncGroq()", "ollama.Client()", "together.Together()",
    "pydantic_ai.Agent()", "langchain_openai.ChatOpenAI()", "langchain_anthropic.ChatAnthropic()",
)  # fmt: skip
_MODEL_CALLS = words(
    "create parse stream generate generate_content complete chat invoke ainvoke run run_sync embed acompletion"
    " completion embeddings with_raw_response count_tokens"
)
_PREFIXES: tuple[tuple[str, Outside], ...] = (
    *((f"{client}.", "a model") for client in MODELS),
    ("smtplib.SMTP", "mail"), ("smtplib.SMTP_SSL", "mail"), ("imaplib.", "mail"), ("poplib.", "mail"),
    ("aiosmtplib.", "mail"), ("sendgrid.", "mail"), ("yagmail.", "mail"), ("resend.Emails.", "mail"),
    ("django.core.mail.", "mail"), ("postmarker.", "mail"), ("mailgun.", "mail"),
    ("ftplib.", "a service"), ("paramiko.", "a service"), ("boto3.client().", "a service"),
    ("boto3.resource().", "a service"), ("boto3.Session().client().", "a service"),
    ("boto3.session.Session().client().", "a service"), ("stripe.", "a service"), ("slack_sdk.", "a service"),
    ("twilio.rest.Client().", "a service"), ("google.cloud.storage.Client().", "a service"),
    ("google.cloud.bigquery.Client().", "a database"), ("kafka.", "a service"), ("pika.", "a service"),
    ("elasticsearch.Elasticsearch().", "a database"), ("redis.", "a database"), ("pymongo.MongoClient()", "a database"),
    ("motor.motor_asyncio.AsyncIOMotorClient()", "a database"), ("socket.create_connection", "a service"),
    ("github.Github().", "a service"), ("playwright.", "a program"), ("telegram.Bot().", "a service"),
)  # fmt: skip
_CONNECTS = words(
    "sqlite3.connect psycopg.connect psycopg.AsyncConnection.connect psycopg2.connect pymysql.connect MySQLdb.connect"
    " mysql.connector.connect asyncpg.connect asyncpg.create_pool aiosqlite.connect duckdb.connect pyodbc.connect"
    " oracledb.connect cx_Oracle.connect snowflake.connector.connect clickhouse_connect.get_client aiomysql.connect"
    " pymssql.connect psycopg_pool.ConnectionPool().connection apsw.Connection"
)
_ENGINES = ("sqlalchemy.create_engine()", "sqlalchemy.ext.asyncio.create_async_engine()", "sqlalchemy.orm.Session()",
            "sqlalchemy.orm.sessionmaker()()", "sqlalchemy.orm.Session", "sqlalchemy.engine.Connection()")  # fmt: skip
_PANDAS = frozenset({"pandas.read_sql", "pandas.read_sql_query", "pandas.read_sql_table"})
_PROGRAMS = words(
    "os.system os.popen os.spawnl os.spawnv os.execv os.execvp os.posix_spawn asyncio.create_subprocess_exec"
    " asyncio.create_subprocess_shell perdure.sh perdure.aio.sh pexpect.spawn pexpect.run"
)
_SUBPROCESS = frozenset({"run", "call", "check_call", "check_output", "Popen", "getoutput", "getstatusoutput"})
_HTTP_MODULES = frozenset({"requests", "httpx", "niquests", "curl_cffi.requests", "httpx2"})
_HTTP_CLIENTS = words(
    "requests.Session() requests.session() requests.sessions.Session() httpx.Client() httpx.AsyncClient()"
    " aiohttp.ClientSession() niquests.Session() requests_oauthlib.OAuth2Session() requests_oauthlib.OAuth1Session()"
    " urllib3.PoolManager() http.client.HTTPSConnection() http.client.HTTPConnection() cloudscraper.create_scraper()"
)
_HTTP_CALLS = words(
    "urllib.request.urlopen urllib.request.urlretrieve aiohttp.request urllib3.request"
    " urllib.request.build_opener().open"
)


@lru_cache(4096)
def outside(name: str) -> Outside | None:
    """What a call of that name talks to, if it leaves the process; making a client does not."""
    if name in _HTTP_CALLS or _is_http(name):
        return "HTTP"
    if name in _CONNECTS or name in _PANDAS:
        return "a database"
    if name in _PROGRAMS:
        return "a program"
    head, _, last = name.rpartition(".")
    if head == "subprocess":
        return "a program" if last in _SUBPROCESS else None
    if name in ("litellm.completion", "litellm.acompletion", "ollama.chat", "ollama.generate"):
        return "a model"
    if name.startswith("openai.") and last == "create" and "(" not in name:
        return "a model"
    for prefix, kind in _PREFIXES:
        if name.startswith(prefix):
            return _kept(name, head, last, kind)
    if any(head.startswith(f"{connect}()") for connect in _CONNECTS) and last not in ("close", "cursor", "commit"):
        return "a database"
    if head.startswith(_ENGINES):
        return "a database" if last in _QUERIES else None
    return None


_QUERIES = words("execute scalar scalars connect begin commit flush query get add add_all merge")


def _kept(name: str, head: str, last: str, kind: Outside) -> Outside | None:
    if kind == "a model":
        return kind if last in _MODEL_CALLS else None
    if name.endswith("Error") or last in ("quit", "close", "Client", "WebClient", "SSHClient", "StripeClient"):
        return None
    if name.startswith(("smtplib.", "imaplib.", "poplib.", "ftplib.")):
        return kind
    if name.startswith("redis."):
        return kind if "()" in head else None
    if "()" not in head and not name.startswith(("stripe.", "socket.", "resend.", "django.")):
        return None
    return kind if name.startswith("pymongo.") or not last[:1].isupper() else None


@lru_cache(4096)
def _is_http(name: str) -> bool:
    head, _, last = name.rpartition(".")
    if last not in VERBS and not (last == "ws_connect" and head.startswith("aiohttp")):
        return last == "urlopen" and head == "urllib3.PoolManager()"
    return head in _HTTP_MODULES or head in _HTTP_CLIENTS


def is_answer(name: str) -> bool:
    """Whether a name is the answer of an HTTP call whose status the caller has to look at."""
    if not name.endswith("()") or not _is_http(name[:-2]):
        return False
    return not name.startswith(("http.client.", "urllib3."))


def verb(name: str) -> str:
    """The method of an HTTP call, in lower case; "" if it depends on an argument."""
    last = name.rpartition(".")[2]
    return last if last in VERBS - {"request", "send", "stream"} else ""


@dataclass(frozen=True, slots=True)
class Timeout:
    """How a call is given its timeout: by these keywords, or in that place; and whether it has one by default."""

    keywords: tuple[str, ...] = ("timeout",)
    place: int | None = None
    default: bool = False


_REQUESTS = ("requests.", "niquests.", "requests_oauthlib.", "cloudscraper.")
_CALLS: dict[str, Timeout] = {
    "urllib.request.urlopen": Timeout(place=2),
    "urllib.request.build_opener().open": Timeout(place=2),
    "urllib.request.urlretrieve": Timeout(keywords=()),
    "smtplib.SMTP": Timeout(place=3), "smtplib.SMTP_SSL": Timeout(place=5),
    "imaplib.IMAP4": Timeout(place=2), "imaplib.IMAP4_SSL": Timeout(),
    "poplib.POP3": Timeout(place=2), "poplib.POP3_SSL": Timeout(),
    "ftplib.FTP": Timeout(place=4), "ftplib.FTP_TLS": Timeout(),
    "http.client.HTTPConnection": Timeout(place=2), "http.client.HTTPSConnection": Timeout(),
    "socket.create_connection": Timeout(place=1),
    "subprocess.run": Timeout(), "subprocess.call": Timeout(), "subprocess.check_call": Timeout(),
    "subprocess.check_output": Timeout(), "subprocess.Popen().wait": Timeout(place=0),
    "subprocess.Popen().communicate": Timeout(place=1), "perdure.sh": Timeout(), "perdure.aio.sh": Timeout(),
    "subprocess.getoutput": Timeout(keywords=()), "os.system": Timeout(keywords=()), "os.popen": Timeout(keywords=()),
    "psycopg.connect": Timeout(("connect_timeout", "options")),
    "psycopg2.connect": Timeout(("connect_timeout", "options")),
    "pymysql.connect": Timeout(("read_timeout", "connect_timeout")),
    "redis.Redis": Timeout(("socket_timeout",)), "redis.StrictRedis": Timeout(("socket_timeout",)),
    "redis.from_url": Timeout(("socket_timeout",)), "redis.Redis.from_url": Timeout(("socket_timeout",)),
    "paramiko.SSHClient().connect": Timeout(),
    "httpx.Client": Timeout(default=True), "httpx.AsyncClient": Timeout(default=True),
    "urllib3.PoolManager().request": Timeout(),
}  # fmt: skip


@lru_cache(4096)
def timeout_of(name: str) -> Timeout | None:
    """How a call of that name is given a timeout; None if that is not known, or none is needed."""
    found = _CALLS.get(name)
    if found is not None or not _is_http(name):
        return found
    if name.startswith(_REQUESTS):
        return Timeout()
    return Timeout(default=True) if name.startswith("httpx.") else None


UNSTORABLE_CALLS = words(
    "builtins.map builtins.filter builtins.zip builtins.iter builtins.enumerate builtins.reversed builtins.memoryview"
    " subprocess.run subprocess.Popen re.match re.search re.fullmatch re.finditer threading.Lock threading.Thread"
    " threading.Event queue.Queue io.BytesIO io.StringIO logging.getLogger csv.reader csv.DictReader"
    " urllib.request.urlopen bs4.BeautifulSoup lxml.etree.fromstring lxml.html.fromstring PIL.Image.open"
    " xml.etree.ElementTree.fromstring xml.etree.ElementTree.parse itertools.chain itertools.islice functools.partial"
    " concurrent.futures.ThreadPoolExecutor tempfile.NamedTemporaryFile tempfile.TemporaryFile"
    " tempfile.TemporaryDirectory boto3.client boto3.resource requests.Session requests.session httpx.Client"
    " httpx.AsyncClient aiohttp.ClientSession smtplib.SMTP smtplib.SMTP_SSL imaplib.IMAP4_SSL ftplib.FTP"
    " sqlalchemy.create_engine redis.Redis redis.from_url pymongo.MongoClient paramiko.SSHClient polars.read_csv"
    " polars.DataFrame polars.read_parquet openpyxl.load_workbook zipfile.ZipFile tarfile.open builtins.open"
    " pathlib.Path().open asyncio.create_task asyncio.Queue socket.create_connection socket.socket os.scandir"
    " os.popen glob.iglob pathlib.Path().glob pathlib.Path().rglob pathlib.Path().iterdir os.walk"
    " ssl.create_default_context"
    " contextvars.ContextVar builtins.super weakref.ref itertools.count itertools.groupby itertools.product"
)
"""What these calls return cannot be stored."""

UNSTORABLE_CLASSES = words(
    "requests.Response requests.models.Response httpx.Response aiohttp.ClientResponse http.client.HTTPResponse"
    " sqlite3.Connection sqlite3.Cursor psycopg.Connection psycopg.Cursor psycopg2.extensions.connection"
    " subprocess.CompletedProcess subprocess.Popen re.Match threading.Thread threading.Lock typing.IO typing.TextIO"
    " typing.BinaryIO io.BytesIO io.StringIO io.TextIOWrapper io.BufferedReader typing.Iterator typing.Generator"
    " typing.AsyncIterator typing.AsyncGenerator collections.abc.Iterator collections.abc.Generator"
    " collections.abc.AsyncIterator collections.abc.AsyncGenerator typing.Callable collections.abc.Callable"
    " builtins.type builtins.memoryview builtins.map builtins.filter builtins.zip types.ModuleType logging.Logger"
    " bs4.BeautifulSoup polars.DataFrame polars.LazyFrame pydantic.SecretStr perdure.Secret PIL.Image.Image"
    " requests.Session httpx.Client httpx.AsyncClient smtplib.SMTP sqlalchemy.engine.Engine sqlalchemy.Engine"
    " sqlalchemy.orm.Session xml.etree.ElementTree.Element concurrent.futures.Future asyncio.Task asyncio.Future"
    " socket.socket builtins.Exception builtins.BaseException types.TracebackType builtins.ValueError"
)
