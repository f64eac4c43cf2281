"""Takes credentials out of text that is kept, shown or sent: the texts of errors, alerts, logs, reprs of arguments.

What helps to find the fault stays: the host and path of a URL, the name of a parameter or header, the kind of a token.
The rules know the shapes in which credentials stand in texts, not the credentials themselves; `Redactor` adds values
that are known to be secret.

Every rule takes time in proportion to the text, whatever it holds: repetitions are possessive or bounded, and a rule
that may run far begins only where a run of its characters does.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from perdure.core.patterns import later
from perdure.core.redaction import shapes, tokens
from perdure.core.redaction.names import HIDDEN, is_secret, words

"""Stands where a secret stood."""

SHORTEST: Final = 6
"""Characters. A known value that is shorter would be found all over the place."""

LONGEST: Final = 100_000
"""Characters of a text that are looked through: a bound on the time that a text of another's making can take."""

_WORD: Final = 2_000
"""Characters of the longest word that is looked for where a text is cut."""

_COMMON = words(
    "secret secrets password passwd changeme default disabled enabled example localhost postgres postgresql mysql"
    " redis rabbitmq mongodb production development staging testing public private primary secondary required"
    " optional unknown undefined username master string number object admin administrator"
    " 123456 false true none null"
)
"""Values that are found in texts for other reasons."""

_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
"""What stays as it is in a URL (RFC 3986, unreserved)."""

_Rule = tuple[tuple[str, ...], Callable[[str], str]]


def redact(text: str, known: Iterable[str] = ()) -> str:
    """`text` without the credentials in it.

    Args:
        text: anything; most texts have nothing to hide and come back as they are, quickly.
        known: values that are secret whatever they look like. For many texts make a `Redactor` of them, once.
    """
    return Redactor(known)(text) if known else _by_shape(text)


def bounded(text: str, longest: int = LONGEST) -> str:
    """A text that is short enough to be looked through: of a longer one the middle is left out.

    The end says what happened, the beginning who asked. No word is cut in two: half a credential is not known again.
    """
    if len(text) <= longest:
        return text
    head, tail = longest // 4, len(text) - longest * 3 // 4
    before = [found for mark in " \n" if (found := text.rfind(mark, max(head - _WORD, 0), head)) >= 0]
    after = [found for mark in " \n" if (found := text.find(mark, tail, tail + _WORD)) >= 0]
    head, tail = max(before, default=head), min(after, default=tail)
    return f"{text[:head]}\n  [... {tail - head} characters left out ...]\n{text[tail:]}"


class Redactor:
    """Takes known secrets out of texts, and what looks like a credential.

    Args:
        values: the secrets. Each is found as it is and as it looks in URLs, in JSON, in a repr() and in base64. Those
            of less than 6 characters and common words are passed over.
    """

    __slots__ = ("_forms",)

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values if is_distinct(value) for form in _forms(value)}
        # The longest first, since one may hold another.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        """`text` without the secrets in it."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        if self._forms and _SPLIT.search(text):
            text = _hide_split(text, self._forms)
        return _by_shape(text)


def is_distinct(value: str) -> bool:
    """Whether a secret is one that can be looked for in texts: neither short nor a common word."""
    return len(value) >= SHORTEST and value.lower() not in _COMMON and not set(value) <= set("*. \t\r\n")


_SPLIT = later(
    "\x1b\\[[0-9;?]{0,40}[A-Za-z]|[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u00ad\ufeff]"
    "|\r?\n[ \t]{0,80}+|(?:\\\\r)?\\\\n"
)
"""What may stand in the middle of a secret: a colour, a character that is not seen, the end of a line."""


def _hide_split(text: str, forms: Sequence[str]) -> str:
    """Hide what is whole only without what splits it."""
    pieces: list[tuple[int, int]] = []  # where in the joined text each piece begins, and where in the text
    parts: list[str] = []
    at = length = 0
    for match in _SPLIT.finditer(text):
        pieces.append((length, at))
        parts.append(text[at : match.start()])
        length += match.start() - at
        at = match.end()
    pieces.append((length, at))
    joined = "".join((*parts, text[at:]))
    starts = [start for start, _ in pieces]

    def place(index: int) -> int:
        start, begun = pieces[bisect_right(starts, index) - 1]
        return begun + index - start

    spans: list[tuple[int, int]] = []
    for form in forms:
        index = joined.find(form)
        while index >= 0:
            spans.append((place(index), place(index + len(form) - 1) + 1))
            index = joined.find(form, index + len(form))
    done, kept = 0, []
    for start, end in sorted(spans):
        if start >= done:
            kept += [text[done:start], HIDDEN]
        done = max(done, end)
    return "".join((*kept, text[done:])) if spans else text


def _forms(value: str) -> Iterable[str]:
    yield value
    if value.strip() != value and is_distinct(value.strip()):
        yield value.strip()
    import html  # these take longer to load than most of what runs load, and few have secrets that are known
    import json

    escaped = value.encode("utf-8", "backslashreplace").decode("utf-8")
    for safe in (_SAFE + b"/", _SAFE):
        for code in ("%{:02X}", "%{:02x}"):
            encoded = "".join(chr(byte) if byte in safe else code.format(byte) for byte in escaped.encode())
            yield encoded
            yield encoded.replace("%20", "+")
    for escape in (repr, ascii, json.dumps):
        once = escape(value)[1:-1]
        yield once
        for again in (repr, json.dumps):  # a text in a text
            yield again(once)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield html.escape(value)
    yield html.escape(value, quote=False)
    yield html.escape(value).replace("&#x27;", "&#39;")
    data = escaped.encode()
    yield repr(data)[2:-1]
    for separator in ("", " ", ":", "\\x"):
        digits = data.hex(separator[0], 1) if separator else data.hex()
        digits = digits.replace("\\", separator) if len(separator) > 1 else digits
        yield digits
        yield digits.upper()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # Behind other bytes, as in `user:password`; the first and last letters depend on the neighbours.
            letters = encode(b"\0" * before + data).decode().rstrip("=")
            inner = letters[(0, 2, 3)[before] : len(letters) - (1 if (before + len(data)) % 3 else 0)]
            if len(inner) >= SHORTEST + 2:
                yield inner


def _by_shape(text: str) -> str:
    # A rule's result may complete another's pattern; the second round then finds it.
    for _ in range(3):
        lowered = text.lower()
        before = text
        text = shapes.hide(text, lowered, HIDDEN)
        for hints, rule in _RULES:
            for hint in hints:
                if hint in lowered:
                    text = rule(text)
                    break
        if text == before:
            break
    return text


# -- what looks like a credential wherever it stands -------------------------------------------------------------------

# Atomic groups, and possessive repeats of single characters only: those of groups match wrongly before Python 3.11.5
# (https://github.com/python/cpython/issues/106052).
_PEM = later(
    r"(-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)(?>(?:[^-]|-(?!----))*)(-----END [A-Z0-9 ]{0,60}-----)?"
)
_TELEGRAM = later(r"(?<![0-9])([0-9]{6,12}(?::|%3[Aa]))[A-Za-z0-9_-]{30,}+|(/bot)[0-9]++:[A-Za-z0-9_-]++")
_AWS = later(r"(?<![A-Za-z0-9/+=])(?![0-9a-f]{40})[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_SCHEME = later(
    r"(?<![A-Za-z])((?:Bearer|Basic|Negotiate|NTLM|Bot|ApiKey|SharedAccessSignature|SharedKey) +)"
    r"(?=[a-z]{0,200}[A-Z0-9+/=_.~-])[A-Za-z0-9+/=_.~:%-]{6,}+",
    re.IGNORECASE,
)


def _kind_and_hidden(match: re.Match[str]) -> str:
    return next((kind for kind in match.groups() if kind), "") + HIDDEN


def _scheme(match: re.Match[str]) -> str:
    rest = match.group()[len(match.group(1)) :]
    # Prose goes on behind "basic"; a token has a digit, or letters of both cases, or ends as base64 does.
    if (
        any(letter.isdigit() for letter in rest)
        or rest.endswith("=")
        or (rest != rest.lower() and rest[1:] != rest[1:].lower())
    ):
        return match.group(1) + HIDDEN
    return match.group()


# -- URLs --------------------------------------------------------------------------------------------------------------

_LOGIN = later(
    r"(://|%3A%2F%2F)([^\s/?#:@\"'<>]{0,256}+):(?:"
    r"[^\s/?#\"'<>]{0,2048}@"  # up to the last @ of the host's part
    r"|(?![0-9]{1,5}(?:[/?#]|\b))[^\s\"'<>]{1,2048}?@"  # a password with a slash that is not encoded
    r")",
    re.IGNORECASE,
)
_LONE_LOGIN = later(r"(://)([^\s/?#:@\"'<>\[\]*]{12,2048}+)@")
_NOTIFIERS = later(
    r"(?<![A-Za-z])((?:tgram|slack|discord|pover|pbul|push|pushy|gotifys?|join|ifttt|msteams|workflows|matrixs?|mmosts?"
    r"|rockets?|twilio|sns|sendgrid|mailgun|prowl|line|signals?|opsgenie|pagerduty|pagertree|wxteams|webex|zulip|ntfys?"
    r"|gchat|guilded|flock|ryver|spontit|simplepush|bark|barks|lametric|notica|onesignal|signl4|splunk|victorops"
    r"|jsons?|forms?|xmls?|mailtos?|whatsapp|threema|vonage|nexmo|clicksend|messagebird|d7sms|hassios?|hassio)://)"
    r"(?!\*\*\*)[^\s\"'<>,;]++",
    re.IGNORECASE,
)
_WEBHOOKS = later(
    r"(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/(?:v[0-9]{1,3}/)?webhooks/[0-9]{1,30}/"
    r"|webhook\.office\.com/webhookb2/|hc-ping\.com/(?:ping/)?|hchk\.io/|maker\.ifttt\.com/trigger/[^/\s]{1,100}/with/key/"
    r"|events\.pagerduty\.com/integration/|/ping/(?=[0-9a-f]{8}-))(?!\*\*\*)[^\s\"'<>?#)\]},;]++",
    re.IGNORECASE,
)


def _login(match: re.Match[str]) -> str:
    user = match.group(2)
    # `https://KEY:@host` has the secret where the name should be.
    lone = match.group().endswith(":@")
    return f"{match.group(1)}{HIDDEN if lone or len(user) >= 20 else user}:{HIDDEN}@"


# -- names with values: assignments, options, headers, fields ----------------------------------------------------------

_NAMED = later(
    r"(?<![\w.\-])([\w.\-]++)"
    r"(?:(?P<quote>\\{0,4}[\"'`])?\]?\s{0,8}(?P<mark>=>|:=|==|[=:]|%3[AaDd])(?!/)"  # name = , "name": , ['name'] =
    r"|\\{0,4}[\"'],(?=\s{0,8}[bu]?\\{0,4}[\"'])(?!\s{0,8}[\"']\w{1,40}[\"']\s?:)"  # ('name', 'value')
    r"|>(?=[^<\s]))"  # <name>value
    r"[^\S\r\n]{0,8}"
)
_OPTION = later(r"(?<![\w\-])--?([A-Za-z][\w\-]++)(?:\\{0,4}[\"'],?)?[^\S\r\n]{1,8}(?![\-=])")
_VALUE = later(
    r"(?P<prefix>[bBrRuUfF]{0,2})(?:"
    r"(?P<q>\\{1,4}[\"'])(?P<escaped>(?>(?:(?!(?P=q))[^\n])*))"
    r"|\"(?P<double>(?>(?:[^\"\\\n]|\\.)*))"
    r"|'(?P<single>(?>(?:[^'\\\n]|\\.)*)))"
    r"|(?P<bare>(?>(?:[^\s&,;\"'<>()\[\]{}`\\%]|%(?!26)|[,;\"')\]}\\](?![\s,;:\"')\]}\\nr]|\w{1,40}\s?=|$))+))"
)
_LINE = later(r"(?>(?:[^\r\n\"'\\]|\\(?![nr\"'])|[\"'](?=[\w])|(?<==)[\"'])+)")
_AUTH = later(r"([A-Za-z][A-Za-z0-9\-]{1,30})[ ]+(?=\S)")
_HARMLESS = words(
    "none null nil true false undefined empty missing required invalid expired unset str bytes int float bool any"
    " object string optional self is was not the a an or and *** nan"
)
_WHOLE_LINE = ("authorization", "cookie")
_CLEAR = ("password", "passwd", "pwd", "passphrase", "apikey", "api_key", "api-key")


def _assignments(text: str) -> str:
    parts: list[str] = []
    done = 0
    for pattern in (_NAMED, _OPTION):
        for match in pattern.finditer(text):
            if match.start() < done or not is_secret(match.group(1)):
                continue
            span = _secret_span(text, match)
            if span is not None:
                parts += (text[done : span[0]], HIDDEN)
                done = span[1]
        if parts:
            parts.append(text[done:])
            text, parts, done = "".join(parts), [], 0
    return text


def _secret_span(text: str, match: re.Match[str]) -> tuple[int, int] | None:
    """From where to where the value behind a name reaches, if it is one to hide."""
    name, groups = match.group(1).lower(), match.groupdict()
    value = _VALUE.match(text, match.end())
    if name.endswith(_WHOLE_LINE) and (value is None or value.lastgroup == "bare"):
        value = _LINE.match(text, match.end())
        span = value.span() if value else None
    elif value is None:
        return None
    else:
        group = next(each for each in ("escaped", "double", "single", "bare") if value.group(each) is not None)
        span = value.span(group)
        if group == "bare" and not _tells(name, groups, value.group("bare")):
            return None
    if span is None or span[0] == span[1] or text[span[0] : span[1]].lower() in _HARMLESS:
        return None
    scheme = _AUTH.match(text, *span) if name.endswith("authorization") else None
    return (scheme.end(), span[1]) if scheme else span


def _tells(name: str, groups: dict[str, str | None], value: str) -> bool:
    """Whether a value without quotes is one, and not the next word of a sentence or a name in a line of code."""
    if value.lower() == name or value.startswith(HIDDEN):
        return False
    prose = "mark" not in groups or (groups["mark"] == ":" and not groups["quote"])
    if name.endswith("pwd") and value.startswith("/"):
        return False
    if name.endswith("pass") and value.isdigit() and len(value) < 4:  # "pass=3 fail=2"
        return False
    if prose and not name.endswith(_CLEAR):
        # "invalid token: expected ..." goes on with a word.
        return len(value) >= SHORTEST and (len(value) >= 20 or not value.isalpha() or value[1:] != value[1:].lower())
    return True


_RULES: tuple[_Rule, ...] = (
    (("private key",), lambda text: _PEM.sub(lambda m: f"{m.group(1)}{HIDDEN}{m.group(2) or ''}", text)),
    (
        ("hooks.slack", "discord", "webhook.office", "hc-ping", "hchk.io", "ifttt", "pagerduty", "/ping/"),
        lambda text: _WEBHOOKS.sub(rf"\1{HIDDEN}", text),
    ),
    (("://",), lambda text: _NOTIFIERS.sub(rf"\1{HIDDEN}", text)),
    (("@",), lambda text: _LONE_LOGIN.sub(rf"\1{HIDDEN}@", _LOGIN.sub(_login, text))),
    (("/bot", ":a", "%3aa"), lambda text: _TELEGRAM.sub(_kind_and_hidden, text)),
    (("akia", "asia"), lambda text: _AWS.sub(HIDDEN, text)),
    (tokens.HINTS, lambda text: tokens.ANY.sub(_kind_and_hidden, text)),
    (
        ("bearer ", "basic ", "negotiate ", "ntlm ", "bot ", "apikey ", "sharedaccess", "sharedkey"),
        lambda text: _SCHEME.sub(_scheme, text),
    ),
    (
        (
            "pass",
            "pw",
            "pswd",
            "secret",
            "cred",
            "key",
            "token",
            "auth",
            "cookie",
            "sig",
            "jwt",
            "bearer",
            "pat",
            "sid",
            "dsn",
            "sessionid",
        ),
        _assignments,
    ),
)
"""Which texts each rule is for (one of these, in small letters, is in them), and the rule."""
