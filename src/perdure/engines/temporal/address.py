"""Where a cluster is, and how it is to be used: `temporal+tls://host:7233/namespace?dead_after=10s`."""

from __future__ import annotations

import difflib
import os
from urllib.parse import parse_qsl, urlsplit

import msgspec

from perdure.config import cluster_options
from perdure.core.durations import seconds
from perdure.errors import OptionError

EXAMPLE = "give temporal://HOST:7233/NAMESPACE, for instance temporal://localhost:7233/default"
DEAD_AFTER = 10.0
EVENTS = 8_000
OPTIONS = ("dead_after", "events", *cluster_options.NAMES)
API_KEY = "PERDURE_API_KEY"
SECRETS = ("api_key", "encryption_key", "encryption_keys", "password", "token")


class Address(msgspec.Struct, frozen=True):
    """A namespace of a cluster.

    `dead_after` is how many seconds a worker may be silent before its work is given to another, and how long the code
    between two steps may compute. `events` is the length of Temporal's record of a run at which it begins a new one
    (Temporal ends a run whose record reaches 51,200 events). `tls`: the connection is encrypted. The files are
    absolute paths, empty for none; `tls_server_name` is the name in the server's certificate if it is not the host's.
    """

    target: str
    namespace: str = "default"
    dead_after: float = DEAD_AFTER
    events: int = EVENTS
    tls: bool = False
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_server_name: str = ""
    api_key_file: str = ""
    encryption_keys_file: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """The address that a URL stands for, with the options of the environment that it does not have itself.

        Raises:
            OptionError: it stands for none, holds a secret, or has options that do not go together.
        """
        named = f"the engine {cluster_options.shown(url)!r}"
        try:
            parts = urlsplit(url)
            port = parts.port or 7233
        except ValueError:
            raise OptionError(f"{named} names no host and port", EXAMPLE) from None
        namespace = parts.path.strip("/") or "default"
        if not cluster_options.is_cluster(url) or not parts.hostname or "/" in namespace:
            raise OptionError(f"{named} names no cluster", EXAMPLE)
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        _refuse_secrets(named, parts.username is not None or parts.password is not None, given)
        for name in given:
            if name not in OPTIONS:
                close = difflib.get_close_matches(name, OPTIONS, n=1)
                meant = f"did you mean {close[0]!r}? Otherwise " if close else ""
                raise OptionError(
                    f"{named} has an unknown option {name!r}",
                    f"{meant}give one of its options: {', '.join(OPTIONS)}",
                )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        dead_after = seconds(given.get("dead_after", DEAD_AFTER), option="dead_after")
        events = given.get("events", str(EVENTS))
        if dead_after < 1:
            raise OptionError(f"dead_after is {given['dead_after']!r}", "give at least 1s")
        if not events.isdecimal() or not 20 <= int(events) <= 40_000:
            raise OptionError(f"events is {events!r}", "give a whole number from 20 to 40000")
        secured = _secured(given)
        tls = cluster_options.has_tls(url)
        _refuse_without_tls(tls, secured)
        return cls(f"{host}:{port}", namespace, dead_after, int(events), tls, **secured)


def _refuse_secrets(named: str, login: bool, given: dict[str, str]) -> None:
    found = "a login" if login else next((name for name in given if name in SECRETS), "")
    if found:
        raise OptionError(
            f"{named} holds {found}, and addresses are shown and logged",
            "set PERDURE_API_KEY or PERDURE_ENCRYPTION_KEYS, or name a file: api_key_file, encryption_keys_file",
        )


def _secured(given: dict[str, str]) -> dict[str, str]:
    """The options that say how the connection is secured."""
    secured = {}
    for name in cluster_options.NAMES:
        value = given.get(name)
        if value and name in cluster_options.FILES:
            value = os.path.abspath(value)
        secured[name] = value or cluster_options.from_environment(name) or ""
    if bool(secured["tls_cert_file"]) != bool(secured["tls_key_file"]):
        one, other = ("cert", "key") if secured["tls_cert_file"] else ("key", "cert")
        raise OptionError(f"tls_{one}_file is given without tls_{other}_file", "give both, or none")
    return secured


def _refuse_without_tls(tls: bool, secured: dict[str, str]) -> None:
    """Whoever asks for protection is not left without: nothing of TLS is ignored, and no key travels in clear."""
    if tls:
        return
    wanted = next((name for name in cluster_options.NAMES if name.startswith("tls_") and secured[name]), None)
    hint = "write the address with TLS: temporal+tls://HOST:7233/NAMESPACE"
    if wanted is not None:
        raise OptionError(f"{wanted} is given, and the address of the cluster has no TLS", hint)
    if secured["api_key_file"] or os.environ.get(API_KEY):
        raise OptionError("an API key is given, and the address of the cluster has no TLS to protect it", hint)
