"""Which names mark their value as a secret: `password`, `STRIPE_API_KEY`, `X-Auth-Token`; not `max_tokens` or `key`."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from perdure.core.patterns import later

HIDDEN: Final = "***"
"""What stands in the place of a credential."""


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_WORDS = later(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LONGEST = 80
"""Characters; what is longer is no name."""

_ALWAYS = words(
    "password passwd passwrd passwort passphrase passcode pwd pswd secret secrets credential credentials apikey"
    " authorization cookie"
)
"""Secret wherever it stands in a name."""

_AT_THE_END = words("token auth signature sig jwt bearer pass pw pat sessionid sid dsn authtoken cred creds")
"""Secret where the name ends so."""

_KINDS_OF_KEY = words(
    "api access private secret auth account shared signing sign encryption crypt master service session client app"
    " application license storage ssh gpg pgp ssl tls webhook bot admin root user deploy function subscription"
    " consumer hmac aes rsa jwt"
)
"""A `key` is secret behind one of these: otherwise it is more often that of a dictionary or an item."""

_ABOUT = words(
    "count counts length len size name names type types url uri endpoint file filename path dir expires expiry expired"
    " expire ttl age policy version status error errors hint field fields param manager provider store class arn scope"
    " index required usage limit used reset encoding format alias domain"
)
"""A name that ends so says something about a secret, and is none: `token_type`, `password_file`."""

_WHOSE_PASS = (
    *("db", "pg", "sql", "ssh", "ftp", "smtp", "imap", "pop", "mail", "ldap", "redis", "mongo", "amqp", "mq", "oracle"),
    *("vpn", "wifi", "ssl", "tls", "key", "store", "cert", "zip", "sudo", "root", "user", "admin", "login", "bind"),
    *("proxy", "http", "auth", "server", "client", "host", "service", "account", "git", "registry", "backup"),
)
"""The same of `pass`: otherwise it is more often the end of a compass or a bypass."""

_ENDINGS = (
    *("password", "passwd", "passphrase", "pwd", "pswd", "secret", "apikey", "token", "creds"),
    *(f"{kind}key" for kind in _KINDS_OF_KEY if len(kind) > 3),
    *(f"{whose}{word}" for whose in _WHOSE_PASS for word in ("pass", "pw")),
)
"""Secret where a name ends so, also without a mark between its words: `PGPASSWORD`, `dbpwd`, `secretkey`."""

_NO_PASS = words("low high band all by first second third last one two single multi boarding season num")
"""Behind one of these words, `pass` is a filter, a turn or a ticket."""


@lru_cache(2048)
def is_secret(name: str) -> bool:
    """Whether a parameter, header, field or option of this name is likely to hold a secret."""
    if len(name) > _LONGEST:
        return False
    found = list(_WORDS.finditer(name))
    parts = [word.group().lower() for word in found]
    if not parts or parts[-1] in _ABOUT:
        return False
    last, before = parts[-1], parts[-2] if len(parts) > 1 else ""
    if last == "pass" and before in _NO_PASS:
        return False
    if not _ALWAYS.isdisjoint(parts) or last in _AT_THE_END:
        return True
    if last == "key" and before in _KINDS_OF_KEY:
        return True
    end = last  # with what it runs together with: `APIkey` and `DBpass` are two words in no style
    for one, following in zip(found[-2::-1], found[:0:-1], strict=True):
        if one.end() < following.start():
            break
        end = one.group().lower() + end
    return end.endswith(_ENDINGS) or (end.endswith("key") and end[:-3] in _KINDS_OF_KEY)


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name is likely to hold a secret; any `*_KEY` is, other than elsewhere."""
    upper = name.upper()
    if upper in ("PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY", "GPG_AGENT_INFO"):
        return False
    return is_secret(name) or upper.endswith(("_KEY", "_PWD", "_PASS", "_CREDS")) or upper.endswith("PASSWORD")


def is_mixed(value: str) -> bool:
    """Letters and digits: what is not merely the next word of a sentence, a number or a date."""
    return len(value) >= 6 and any(map(str.isdigit, value)) and any(map(str.isalpha, value))
