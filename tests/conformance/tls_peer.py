"""A TLS server in front of a cluster: asks for a client certificate, sees the API key, and passes everything on.

It reads the headers of HTTP/2 (RFC 9113, RFC 7541), and answers calls without the right key itself, as a cluster does.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


class Authority:
    """A certificate authority of the moment.

    Args:
        folder: where its certificate, and those that it signs, are written.
        name: of both.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._builder(subject, subject, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
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
        builder = self._builder(subject, self._signed.subject, key)
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
        self.port = 0
        self._behind = port
        self._context = context
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of the loopback address."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._server = server

    async def stop(self) -> None:
        """Close all connections."""
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        back, forth = await asyncio.open_connection("127.0.0.1", self._behind)
        answers = asyncio.create_task(_copy(back, writer))
        try:
            forth.write(await reader.readexactly(PREFACE))
            await self._requests(reader, writer, forth)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            answers.cancel()
            forth.close()
            writer.close()
            self._open.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, forth: asyncio.StreamWriter
    ) -> None:
        decoder = hpack.Decoder()
        refused: set[bytes] = set()
        while True:
            head = await reader.readexactly(9)
            body = await reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], head[5:9]
            if kind == HEADERS:
                pad = 1 if flags & PADDED else 0
                start = pad + (5 if flags & PRIORITY else 0)
                headers = dict(decoder.decode(body[start : len(body) - (body[0] if pad else 0)]))
                self.keys.add(headers.get("authorization"))
                if self.wanted is not None and headers.get("authorization") != self.wanted:
                    refused.add(stream)
                    answer = {":status": "200", "content-type": "application/grpc", "grpc-status": UNAUTHENTICATED}
                    said = [*answer.items(), ("grpc-message", f"not {headers.get('authorization')}")]
                    data = hpack.Encoder().encode([(name, value, True) for name, value in said])
                    writer.write(len(data).to_bytes(3, "big") + bytes([HEADERS, END]) + stream + data)
            if stream not in refused:
                forth.write(head + body)
                await forth.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@contextmanager
def peer(port: int, server: tuple[Path, Path], clients: Authority) -> Iterator[Peer]:
    """A peer in front of that port, with that certificate, for the clients of that authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(clients.file))
    context.load_cert_chain(*server)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made = Peer(port, context)
    try:
        asyncio.run_coroutine_threadsafe(made.start(), loop).result()
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
