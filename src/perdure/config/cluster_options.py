"""How a connection to a cluster is secured: by options of its address, PERDURE_ variables, or pyproject.toml.

An option has one name in all three: `tls_ca_file`, PERDURE_TLS_CA_FILE. An address is shown and logged, so it names
files of keys. Only the environment may hold keys themselves (PERDURE_API_KEY, PERDURE_ENCRYPTION_KEYS).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

PLAIN = "temporal"
TLS = "temporal+tls"

FILES = ("tls_ca_file", "tls_cert_file", "tls_key_file", "api_key_file", "encryption_keys_file")
ENCRYPTION_KEYS_FILE = FILES[-1]
NAMES = (*FILES, "tls_server_name")


def is_cluster(url: str) -> bool:
    """Whether an address is that of a cluster."""
    return url.startswith((f"{PLAIN}://", f"{TLS}://"))


def has_tls(url: str) -> bool:
    """Whether an address asks for TLS."""
    return url.startswith(f"{TLS}://")


def variable(name: str) -> str:
    """The environment variable of an option."""
    return f"PERDURE_{name.upper()}"


def from_environment(name: str) -> str | None:
    """What the environment says of an option; paths are relative to the working directory."""
    value = os.environ.get(variable(name))
    return os.path.abspath(value) if value and name in FILES else value or None


def completed(url: str, configured: Mapping[str, str]) -> str:
    """The address with the options of pyproject.toml that neither it nor the environment has.

    Args:
        url: the address.
        configured: what pyproject.toml says, by the names of the options.
    """
    try:
        given = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    except ValueError:
        return url  # whoever takes it apart says what is wrong
    added = {name: value for name, value in configured.items() if name not in given and not from_environment(name)}
    if not added:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(added, quote_via=quote, safe='/')}"


def shown(url: str) -> str:
    """The address for messages, without what may be a secret: logins, and the values of options that there are not."""
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return url.partition("://")[0] + "://..."
    known = (*NAMES, "dead_after", "events")
    query = "&".join(f"{name}={value if name in known else '***'}" for name, value in options)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"***@{place}" if place != parts.netloc else place, parts.path, query, ""))
