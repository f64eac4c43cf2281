"""Credentials that only their surroundings give away, as data: command lines, SQL, XML, cookies, prose.

Each row says which texts it is for, what it looks like, and what the value must be like. In a pattern the group `v` is
what is hidden, and `n`, if there is one, is a name that must be that of a secret. Every repetition is bounded, so that a
row takes time in proportion to the text; where one begins anew inside of its own reach, that reach is at most 400
characters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final

from perdure.core.patterns import later
from perdure.core.redaction import tokens
from perdure.core.redaction.names import is_mixed, is_secret, words

_Check = Callable[[str], bool]


def _any(value: str) -> bool:
    return True


def _worded(value: str) -> bool:
    return not value.isdigit()


def _no_variable(value: str) -> bool:
    return not value.replace(".", "").replace("_", "").isalpha()


_Q = r"(?:\\{0,3}[\"'`])"
_QUOTED = r"[bBuUrRfFN]?\\{0,3}(?P<q>[\"'`])(?P<v>(?>(?:(?!(?P=q))[^\n\\]|\\(?!(?P=q)).){1,4096}))"
_NAME = r"(?P<n>[\w.\-]{1,80})"
_ARGUMENT = r"(?:=|\\{0,3}['\"]?,?\s{1,4}\\{0,3}['\"]?)"
_BARE = r"(?P<v>[^\s'\"\\,;<>]{1,512})"
_REST = r"[^\n|;&]{0,300}?(?<=[\s'\"])"

_STEMS: Final = (
    *("pass", "pw", "pswd", "secret", "cred", "key", "token", "auth", "cookie", "signature", "jwt", "bearer", "dsn"),
    *("sessionid", "_sid", "_pat"),
)
"""One of these is in every name of a secret."""


_ROWS: Final[tuple[tuple[tuple[str, ...], str, _Check], ...]] = (
    # Newer tokens, by how they begin.
    (tokens.MIXED_HINTS, tokens.MIXED, is_mixed),
    (("atlasv1",), r"\.atlasv1\.(?P<v>[A-Za-z0-9_=\-]{20,4096}+)", _any),
    (("pat",), r"(?<![A-Za-z0-9])pat(?P<v>[A-Za-z0-9]{14}\.[0-9a-f]{64})", _any),
    (("v1.0-",), r"(?<![A-Za-z0-9])v1\.0-(?P<v>[0-9a-f]{24,64}-[0-9a-f]{64,160})", _any),
    (("private-",), r"Private-(?:MAC|Hash): (?P<v>[0-9a-f]{32,128}+)", _any),
    (("private-lines",), r"Private-Lines: [0-9]{1,4}\r?\n(?P<v>(?>(?:[A-Za-z0-9+/=]{1,80}\r?\n?){1,400}))", _any),
    # Addresses.
    (("outlook.office",), r"outlook\.office(?:365)?\.com/webhook/(?P<v>[^\s\"'<>]{8,2048}+)", _any),
    (("/hooks/",), r"/hooks/(?P<v>[a-z0-9]{24,64}+)(?![\w/])", _any),
    (("/heartbeat/",), r"/heartbeat/(?P<v>[A-Za-z0-9]{20,64}+)", _any),
    (("thin:",), r"thin:[^/\s@]{1,64}/(?P<v>[^@\s]{1,128}+)@", _any),
    (("@//",), r"(?<![\w/])\w{1,64}/(?P<v>[^@/\s'\"]{3,128}+)@//", _any),
    (("key=",), r"[?&]key=(?P<v>[^\s&#\"'<>]{10,512}+)", is_mixed),
    (("code=",), r"[?&](?:code|assertion|ticket)=(?P<v>[^\s&#\"'<>]{10,4096}+)", is_mixed),
    # Headers and cookies.
    (("response=", "mac=", "cnonce="), r"(?<![\w\-])(?:response|mac|cnonce)=\\?\"(?P<v>[^\"\s\\]{6,256}+)", is_mixed),
    ((",v",), r",v[0-9]=(?P<v>[0-9a-f]{32,256}+)", _any),
    (("<cookie ",), r"<Cookie [^\s=<>]{1,100}=(?P<v>[^\s<>]{1,4096}+) for ", _any),
    (("sess",), r"(?:sessid|session_?id|session-id|[_\-]session)=(?P<v>[^\s;,'\"<>&]{6,4096}+)", is_mixed),
    (("connect.sid",), r"connect\.sid=(?P<v>[^\s;,'\"<>]{6,4096}+)", _any),
    # Command lines.
    (("-u",), rf"(?<![\w\-])(?:-[uU]|--(?:proxy-)?user){_ARGUMENT}[^\s:'\"@/,%\\=]{{1,64}}:(?P<v>[^\s'\"\\]{{3,256}}+)", _worded),
    (("-u",), r"(?<![\w\-])-[uU](?=\w)[^\s:'\"@/,%\\=]{1,64}:(?P<v>[^\s'\"\\]{3,256}+)", _worded),
    (("http -a", "https -a", "--auth"), rf"\bhttps?{_REST}(?:-a|--auth){_ARGUMENT}[^\s:'\"@/]{{1,64}}:(?P<v>[^\s'\"\\]{{3,256}}+)", _any),
    (("curl",), rf"\bcurl\b{_REST}(?:-b|--cookie){_ARGUMENT}(?P<v>[^\s'\"\\=]{{1,100}}=[^\s'\"\\]{{1,2048}}+)", _any),
    (("mysql", "mariadb", "7z", "sshpass", "rar "), rf"(?:\bmysql\w{{0,20}}|\bmariadb\w{{0,20}}|\b7z\w{{0,2}}|\bsshpass|\brar)\b{_REST}-p(?P<v>[^\s'\"\\]{{2,256}}+)", _any),
    (("sshpass", "login", "twine", "mongo", "mosquitto"), rf"(?:\bsshpass|\blogin|\btwine|\bmongo\w{{0,10}}|\bmosquitto_\w{{3}})\b{_REST}-p{_ARGUMENT}{_BARE}", _any),
    (("zip", "sqlcmd", "bcp", "mosquitto"), rf"(?:\bunzip|\bzip|\bsqlcmd|\bbcp|\bmosquitto_\w{{3}})\b{_REST}-P{_ARGUMENT}{_BARE}", _any),
    (("redis-cli",), rf"\bredis-cli\b{_REST}-a{_ARGUMENT}{_BARE}", _any),
    (("ldap",), rf"\bldap\w{{1,20}}\b{_REST}-w{_ARGUMENT}{_BARE}", _any),
    (("openssl",), rf"\bopenssl\b{_REST}-[kK]{_ARGUMENT}{_BARE}", _any),
    (("pass:",), r"(?<![\w:])pass:(?P<v>[^\s'\"]{1,256}+)", _any),
    (("-u",), rf"(?<![\w\-])-U{_ARGUMENT}[^\s%'\"]{{1,64}}%(?P<v>[^\s'\"]{{1,256}}+)", _any),
    (("lftp",), rf"\blftp\b{_REST}-u{_ARGUMENT}[^\s,'\"]{{1,64}},(?P<v>[^\s'\"]{{1,256}}+)", _any),
    (("/user:",), r"(?<![\w/])/user:\S{1,64}\s{1,4}(?P<v>[^\s/]\S{0,255}+)", _any),
    (("htpasswd",), r"\bhtpasswd\s{1,4}-\w{0,6}b\w{0,6}\s{1,4}\S{1,128}\s{1,4}\S{1,64}\s{1,4}(?P<v>\S{1,256}+)", _any),
    (("vault login",), r"\bvault login\s{1,4}(?P<v>[^\s\-]\S{3,256}+)", _any),
    (_STEMS, rf"\b(?:configure set|config set|set -\w{{1,3}}|setx|setenv)\s{{1,4}}{_NAME}\s{{1,4}}(?P<v>\S{{1,512}}+)", _any),
    (("login",), r"\blogin\s{1,4}\S{1,128}\s{1,4}password\s{1,4}(?P<v>\S{1,256}+)", _any),
    # SQL.
    (("password",), rf"\bPASSWORD(?:\s{{1,4}}|\(\s?){_QUOTED}", _any),
    (("identified",), rf"\bIDENTIFIED\s{{1,4}}(?:WITH\s{{1,4}}\S{{1,64}}\s{{1,4}})?(?:BY|AS)\s{{1,4}}(?:PASSWORD\s{{1,4}})?{_QUOTED}", _any),
    # A connection string of ODBC.
    (("pwd", "password"), r"(?i:pwd|password)\s{0,4}=\s{0,4}\{(?P<v>(?>(?:[^{}\n]|\}\}){1,256}))\}", _no_variable),
    # A name here, its value further on.
    (_STEMS, rf"\b(?:name|key|field|header|variable){_Q}?\s{{0,4}}[:=]\s{{0,4}}{_Q}?{_NAME}(?![\w.\-])[^<>\n{{}}]{{0,120}}?"
              rf"\bvalue{_Q}?\s{{0,4}}[:=]\s{{0,4}}{_QUOTED}", _any),
    (_STEMS, rf"\b(?:name|key):\s{{1,4}}[\"']?{_NAME}[\"']?\s{{1,80}}value:\s{{1,4}}[\"']?(?P<v>[^\s\"'{{}}<>]{{1,4096}}+)", _any),
    (_STEMS, r"<[\w.:\-]{1,60}\s[^<>]{0,120}?\b(?:name|key)=[\"'](?P<n>[\w.\-]{1,80})[\"'][^<>]{0,120}>(?P<v>[^<>\s][^<>]{0,2048}+)", _any),
    (_STEMS, r"<(?:[\w.\-]{1,40}:)?(?P<n>[\w.\-]{1,80})(?:\s[^<>]{0,200})?>(?P<v>[^<>\s][^<>]{0,2048}+)", _any),
    (_STEMS, r"&lt;(?:[\w.\-]{1,40}:)?(?P<n>[\w.\-]{1,80})&gt;(?P<v>[^&<>\s]{1,2048}+)", _any),
    (_STEMS, r"&(?:quot|apos|#34|#39|#x27);(?P<n>[\w.\-]{1,80})&(?:quot|apos|#34|#39|#x27);\s{0,4}[:=]\s{0,4}"
          r"&(?:quot|apos|#34|#39|#x27);(?P<v>[^&\s]{1,2048}+)", _any),
    (_STEMS, r"(?:^|\n)(?P<n>[\w.\-]{1,120})\n[^\n]{0,400}?input_value=(?P<v>[^\n]{1,400}?), input_type=", _any),
    # Code and JSON of more than one line.
    (_STEMS, rf"(?<![\w.\-]){_NAME}{_Q}(?:\s{{0,64}}\n\s{{0,64}}[:=]|\s{{0,8}}[:=]\s{{0,64}}\n)\s{{0,64}}{_QUOTED}", _any),
    (_STEMS, rf"(?<![\w.\-]){_NAME}\s{{0,4}}:\s{{0,4}}[\w.|\[\], ]{{1,60}}=\s{{0,4}}{_QUOTED}", _any),
    (_STEMS, r"(?<![\w.\-])(?P<n>[\w.\-]{1,80})\s{0,4}[:=]{1,2}\s{0,4}`(?P<v>[^`\n]{1,4096}+)`", _any),
    (_STEMS, rf"(?<![\w.\-]){_NAME}{_Q}?\s{{0,4}}[:=]\s{{0,4}}[\w.]{{1,40}}\(\s{{0,4}}{_QUOTED}", _any),
    (("auth",), rf"(?:\bauth{_Q}?\s{{0,4}}[=:]\s{{0,4}}|Auth)\(\s{{0,4}}[\"'][^\"'\n]{{0,128}}[\"']\s{{0,4}},\s{{0,4}}{_QUOTED}", _any),
    (("otp",), r"(?<![A-Za-z])t?otp[\"']?\s{0,2}[=:]\s{0,2}[\"']?(?P<v>[\w\-]{3,64}+)", _any),
    (("mfa", "verification", "time_code", "timecode", "security_code", "securitycode"), r"(?<![A-Za-z])(?:mfa|verification|one_?time|security)_?code[\"']?\s{0,2}[=:]\s{0,2}[\"']?(?P<v>[\w\-]{3,64}+)", _any),
    # Prose.
    (_STEMS, r"\b(?:password|passphrase|passcode|token|secret|api[ _]key|access[ _]key)(?:\s(?:is|was|provided|given|supplied|of|value)){0,2}"
         r"\s?:?\s[\"']?(?P<v>[^\s'\"<>,;()\[\]{}=/\\]{8,256}+)", is_mixed),
)  # fmt: skip
"""One of these is in every text that a row is for, in small letters; the pattern; what the value must be like."""

_ANY_HINT: Final = ("_key", *dict.fromkeys(hint for hints, _, _ in _ROWS for hint in hints))

_KEY_NAME = later(
    r"(?<![A-Za-z0-9_])([A-Z][A-Z0-9_]{0,60})_KEY[\"']?\s{0,2}[=:]\s{0,2}[\"']?(?P<v>[^\s'\",;)}]{8,512}+)"
)
_NO_SECRET = words(
    "sort primary foreign partition cache index row lookup group order idempotency hash range dedup map dict search"
    " unique natural object registry routing public translation message dedupe sharding"
)

_CONTAINER = later(rf"(?<![\w.\-]){_NAME}{_Q}?\s{{0,8}}[:=]\s{{0,8}}(?=[\[({{])")
_PART = later(r"[\[({]|[\])}]|\\{0,3}([\"'])((?>(?:(?!\1)[^\\\n]|\\(?!\1).){0,512}))\\{0,3}\1(\s{0,4}:)?")
_REACH = 2_000
"""Characters of a list or a dictionary behind a secret name that are looked through."""


def hide(text: str, lowered: str, hidden: str) -> str:
    """`text` without what the rows describe.

    Args:
        text: the text.
        lowered: the same in small letters.
        hidden: what stands in place of a credential.
    """
    for hint in _ANY_HINT:
        if hint in lowered:
            break
    else:  # so it is with nearly all texts of a page
        return text
    present: dict[tuple[str, ...], bool] = {}
    for hints, pattern, check in _ROWS:
        if hints not in present:
            present[hints] = any(hint in lowered for hint in hints)
        if present[hints]:
            text = _hide(_compiled(pattern), check, text, hidden)
    if "_key" in lowered:
        text = _KEY_NAME.sub(lambda match: _key(match, hidden), text)
    return _hide_inside(text, hidden) if present[_STEMS] else text


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """A row's pattern, when a text asks for it: to compile them all takes longer than a short program."""
    return re.compile(pattern, re.IGNORECASE)


def _hide(pattern: re.Pattern[str], check: _Check, text: str, hidden: str) -> str:
    parts: list[str] = []
    done = 0
    for match in pattern.finditer(text):
        value = match["v"]
        if hidden in value or not check(value) or ("n" in pattern.groupindex and not _is_secret(match["n"])):
            continue
        if "n" in pattern.groupindex and value.lower() in ("null", "none", "true", "false", "required", "value"):
            continue
        start, end = match.span("v")
        parts += (text[done:start], hidden)
        done = end
    return "".join((*parts, text[done:])) if parts else text


def _is_secret(name: str) -> bool:
    return is_secret(name) or (name.isupper() and name.endswith("_KEY") and _is_key(name[:-4]))


def _is_key(before: str) -> bool:
    return before.rpartition("_")[2].lower() not in _NO_SECRET


def _key(match: re.Match[str], hidden: str) -> str:
    value = match["v"]
    if hidden in value or not is_mixed(value) or not _is_key(match[1]):
        return match.group()
    return match.group()[: match.start("v") - match.start()] + hidden


def _hide_inside(text: str, hidden: str) -> str:
    """Texts in a list or a dictionary behind a secret name: `passwords=['...']`, `"credentials": {"value": "..."}`."""
    parts: list[str] = []
    done = seen = 0
    for match in _CONTAINER.finditer(text):
        name = match["n"]
        plural = not is_secret(name) and name.lower().endswith("s")
        if match.start() < seen or not (is_secret(name) or (plural and is_secret(name[:-1]))):
            continue
        depth = 0
        for part in _PART.finditer(text, match.end(), match.end() + _REACH):
            seen = part.end()  # what lies inside is not looked through a second time
            if part.group() in ("[", "(", "{"):
                depth += 1
            elif part.group() in ("]", ")", "}"):
                depth -= 1
                if depth <= 0:
                    break
            elif part[2] and not part[3] and hidden not in part[2] and (not plural or is_mixed(part[2])):
                parts += (text[done : part.start(2)], hidden)
                done = part.end(2)
    return "".join((*parts, text[done:])) if parts else text
