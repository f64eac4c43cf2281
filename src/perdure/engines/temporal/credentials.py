"""What proves who this process is to a cluster, and the cluster to it: certificates and the API key."""

from __future__ import annotations

import logging
import os
import stat

from temporalio.service import TLSConfig

from perdure.config import ownership
from perdure.config.secrets import Secret
from perdure.engines.temporal.address import API_KEY, Address
from perdure.errors import OptionError

LONGEST = 1 << 20
"""Bytes of a file of certificates or keys that are read."""


def tls_of(address: Address) -> TLSConfig | bool:
    """How the connection is encrypted; False if it is not.

    Raises:
        OptionError: a file cannot be read, or holds something else.
    """
    if not address.tls:
        return False
    ca, certificate, key = address.tls_ca_file, address.tls_cert_file, address.tls_key_file
    return TLSConfig(
        server_root_ca_cert=_pem("tls_ca_file", ca, b"CERTIFICATE") if ca else None,
        domain=address.tls_server_name or None,
        client_cert=_pem("tls_cert_file", certificate, b"CERTIFICATE") if certificate else None,
        client_private_key=_pem("tls_key_file", key, b"PRIVATE KEY", secret=True) if key else None,
    )


def api_key_of(address: Address) -> Secret[str] | None:
    """The API key: from the file that is named, else from PERDURE_API_KEY.

    Raises:
        OptionError: the file cannot be read, or there is no key in it.
    """
    where = address.api_key_file or API_KEY
    if address.api_key_file:
        text = read_file("api_key_file", address.api_key_file, secret=True).decode("utf-8", "replace").strip()
    else:
        text = os.environ.get(API_KEY, "").strip()
        if not text:
            return None
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise OptionError(f"{where} holds no API key", "let it hold the key alone, on one line")
    return Secret(text)


def read_file(option: str, path: str, *, secret: bool = False) -> bytes:
    """What a file of certificates or keys holds.

    Args:
        option: by what the file is named, for errors.
        path: the file.
        secret: if other users can read it, one line says so.

    Raises:
        OptionError: it cannot be read, or another user can change it.
    """
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(LONGEST)
    except OSError as error:
        raise OptionError(f"{option} cannot be read: {path} ({error.strerror})", "name another file") from None
    if why := ownership.objection(found):
        hint = f"make it yours and not writable by others: chmod 600 {path}"
        raise OptionError(f"{option} cannot be trusted: {path}: {why}", hint)
    if secret and ownership.OWNED and found.st_mode & stat.S_IROTH:
        logging.getLogger("perdure").warning("every user of this machine can read %s; chmod 600 %s", path, path)
    return data


def _pem(option: str, path: str, kind: bytes, *, secret: bool = False) -> bytes:
    data = read_file(option, path, secret=secret)
    if b"ENCRYPTED" in data:
        raise OptionError(f"{option} is protected by a passphrase: {path}", "give a key without one")
    if kind + b"-----" not in data:
        raise OptionError(f"{option} holds no {kind.decode().lower()}: {path}", "name a file in PEM format")
    return data
