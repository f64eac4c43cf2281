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
    "password passwd passwort passphrase passcode pwd secret secrets credential credentials apikey authorization cookie"
)
"""Secret wherever it stands in a name."""

_AT_THE_END = words("token auth signature sig jwt bearer pass pat sessionid sid dsn authtoken")
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
    " index required usage limit used reset encoding format alias"
)
"""A name that ends so says something about a secret, and is none: `token_type`, `password_file`."""

_RUN_TOGETHER = ("password", "passwd", "passphrase", "secret", "apikey", "authtoken", "accesstoken", "token")


@lru_cache(2048)
def is_secret(name: str) -> bool:
    """Whether a parameter, header, field or option of this name is likely to hold a secret."""
    if len(name) > _LONGEST:
        return False
    parts = [word.lower() for word in _WORDS.findall(name)]
    if not parts or parts[-1] in _ABOUT:
        return False
    last = parts[-1]
    if not _ALWAYS.isdisjoint(parts) or last in _AT_THE_END or last.endswith(_RUN_TOGETHER):
        return True
    return last == "key" and len(parts) > 1 and parts[-2] in _KINDS_OF_KEY


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name is likely to hold a secret; any `*_KEY` is, other than elsewhere."""
    upper = name.upper()
    if upper in ("PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY", "GPG_AGENT_INFO"):
        return False
    return is_secret(name) or upper.endswith(("_KEY", "_PWD", "_PASS", "_CREDS")) or upper.endswith("PASSWORD")


def is_mixed(value: str) -> bool:
    """Letters and digits: what is not merely the next word of a sentence, a number or a date."""
    return len(value) >= 6 and any(map(str.isdigit, value)) and any(map(str.isalpha, value))
