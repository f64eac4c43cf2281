"""A TLS server in front of a cluster: asks for a client certificate, sees the API key, and passes everything on.

It reads the headers of HTTP/2 (RFC 9113, RFC 7541), and answers calls without the right key itself, as a cluster does.
"""

from __future__ import annotations

import datetime
import inspect
import ipaddress
import logging
import select
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hpack
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
HEADERS = 1
PADDED, PRIORITY = 0x8, 0x20
END = 0x4 | 0x1
UNAUTHENTICATED = "16"
LOG = logging.getLogger(__name__)


class Authority:
    """A certificate authority of the moment, with the extensions that RFC 5280 asks for, as Python 3.13 does.

    Args:
        folder: where its certificate, and those that it signs, are written.
        name: of both.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signs = dict.fromkeys(inspect.signature(x509.KeyUsage).parameters, False) | {"key_cert_sign": True}
        self._certificate = (
            self._builder(subject, subject, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**signs), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        self._signed = self._certificate.sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._signed.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    def sign(self, name: str, *hosts: str) -> tuple[Path, Path]:
        """The files of a certificate for these hosts (names or addresses), and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, self._signed.subject, key).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        names = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[:1].isdigit() else x509.DNSName(host) for host in hosts
        ]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate, private = (self._folder / f"{name}-{self._name}{end}" for end in (".pem", ".key"))
        certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private.touch(0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private


class Peer:
    """The server; `keys` are the values of `authorization` that it has seen, None for none. `wanted`: the right one."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.keys: set[str | None] = set()
        self.wanted: str | None = None
        self._behind = port
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._ending = False
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        """Close all connections."""
        self._ending = True
        with socket.create_connection(("127.0.0.1", self.port)):  # wakes the thread that accepts
            self._threads[0].join()
        self._listening.close()
        for connection in list(self._open):
            _shut(connection)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            if self._ending:
                connection.close()
                return
            self._start(self._serve, connection)

    def _start(self, function: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=function, args=args)
        self._threads.append(thread)
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(60)
        front = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with front:
            try:
                try:
                    front.do_handshake()
                except ssl.SSLError:
                    _await_end(front)
                    raise
                with socket.create_connection(("127.0.0.1", self._behind)) as behind:
                    self._open |= {front, behind}
                    try:
                        self._pass_on(front, behind)
                    finally:
                        self._open -= {front, behind}
                        _shut(front)
            except OSError as error:
                LOG.debug("a connection ends", exc_info=error)

    def _pass_on(self, front: ssl.SSLSocket, behind: socket.socket) -> None:
        """Pass all on, both ways, until one side ends. One thread: two at once break the state of a TLS connection."""
        requests = self._requests(front, behind)
        next(requests)
        while True:
            ready = [front] if front.pending() else select.select([front, behind], [], [], 60)[0]
            if front in ready:
                front.settimeout(0)
                try:
                    data = front.recv(1 << 16)
                except ssl.SSLWantReadError:  # a part of a record, or one that is not for us
                    continue
                finally:
                    front.settimeout(60)
                if not data:
                    return
                requests.send(data)
            if behind in ready:
                if not (data := behind.recv(1 << 16)):
                    return
                front.sendall(data)

    def _requests(self, front: ssl.SSLSocket, behind: socket.socket) -> Generator[None, bytes, None]:
        """Is sent what comes from the client, in whatever pieces, and passes on each frame that is whole."""
        decoder = hpack.Decoder()
        refused: set[bytes] = set()
        there = b""
        while len(there) < PREFACE:
            there += yield
        behind.sendall(there[:PREFACE])
        there = there[PREFACE:]
        while True:
            while len(there) < 9 or len(there) < 9 + int.from_bytes(there[:3], "big"):
                there += yield
            size = 9 + int.from_bytes(there[:3], "big")
            frame, there = there[:size], there[size:]
            kind, flags, stream, body = frame[3], frame[4], frame[5:9], frame[9:]
            if kind == HEADERS:
                pad = 1 if flags & PADDED else 0
                start = pad + (5 if flags & PRIORITY else 0)
                headers = dict(decoder.decode(body[start : len(body) - (body[0] if pad else 0)]))
                key = headers.get("authorization")
                self.keys.add(key)
                if self.wanted is not None and key != self.wanted:
                    refused.add(stream)
                    front.sendall(_refusal(stream, f"not {key}"))
            if stream not in refused:
                behind.sendall(frame)


def _refusal(stream: bytes, message: str) -> bytes:
    """The frame that ends a call."""
    said = {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": UNAUTHENTICATED,
        "grpc-message": message,
    }
    data = hpack.Encoder().encode([(name, value, True) for name, value in said.items()])
    return len(data).to_bytes(3, "big") + bytes([HEADERS, END]) + stream + data


def _await_end(front: ssl.SSLSocket) -> None:
    """Let the other side read why there is no connection: closing at once would take that away from it."""
    socket.socket.shutdown(front, socket.SHUT_WR)
    while socket.socket.recv(front, 1 << 16):
        pass


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


@contextmanager
def peer(port: int, server: tuple[Path, Path], clients: Authority) -> Iterator[Peer]:
    """A peer in front of that port, with that certificate, for the clients of that authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(clients.file))
    context.load_cert_chain(*server)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    made = Peer(port, context)
    try:
        yield made
    finally:
        made.stop()
