"""A cluster behind TLS: both sides show a certificate, the API key arrives, and what is wrong is refused by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.conformance.bench import Bench
from tests.conformance.conftest import Server
from tests.conformance.shape import do
from tests.conformance.tls_peer import Authority, Peer, peer

from perdure import workflow
from perdure.engines.selection import cluster_at
from perdure.errors import EngineError, OptionError

KEY = "pk-canary-5a1e77c0"


class Place:
    """A cluster behind TLS, and the files of its client."""

    def __init__(self, folder: Path, peer: Peer, files: dict[str, Path]) -> None:
        self.folder, self.peer, self.files = folder, peer, files

    def url(self, host: str = "127.0.0.1", **options: object) -> str:
        """The address; an option that is None is left out."""
        given = {name: str(value) for name, value in {**self.files, **options}.items() if value is not None}
        return f"temporal+tls://{host}:{self.peer.port}/default?{urlencode(given)}"

    def answers(self, url: str) -> bool:
        """Whether there is a connection."""
        return isinstance(cluster_at(url).list_runs(), list)

    def refusal(self, url: str) -> str:
        """Why there is no connection."""
        with pytest.raises(EngineError) as refused:
            cluster_at(url).list_runs()
        return str(refused.value)


@pytest.fixture(scope="module")
def place(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A peer whose certificate is for 127.0.0.1 and for one name, and the files of a client that it trusts."""
    folder = tmp_path_factory.mktemp("tls")
    ours = Authority(folder, "ours")
    certificate, key = ours.sign("client")
    files = {"tls_ca_file": ours.file, "tls_cert_file": certificate, "tls_key_file": key}
    with peer(server.port, ours.sign("server", "127.0.0.1", "cluster.example"), ours) as made:
        yield Place(folder, made, files)


@workflow
def greeting(name: str) -> str:
    return do(name)


def test_a_run_over_tls_with_an_api_key(place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run is made over mutual TLS, each call carries the key, and the key stands in no log."""
    file = tmp_path / "api.key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    place.peer.keys.clear()
    with caplog.at_level(logging.DEBUG), Bench(place.url(api_key_file=file), tmp_path).in_force() as bench:
        assert bench.run(greeting, "over tls") == "over tls"
    assert place.peer.keys == {f"Bearer {KEY}"}
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("hpack")]
    assert logged
    assert KEY not in "\n".join(logged)


def test_an_api_key_of_the_environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the cluster does not want is an error that says so, and holds no key, even if the cluster quotes it."""
    monkeypatch.setenv("PERDURE_API_KEY", KEY)
    monkeypatch.setattr(place.peer, "wanted", "Bearer another")
    said = place.refusal(place.url(dead_after="5s"))
    assert "refuses this process" in said
    assert "PERDURE_API_KEY" in said
    assert KEY not in said
    monkeypatch.setattr(place.peer, "wanted", f"Bearer {KEY}")
    assert place.answers(place.url(dead_after="5s"))


def test_a_cluster_that_another_authority_has_signed(place: Place) -> None:
    """Nobody is trusted whom tls_ca_file does not name; nor, without it, whom the system does not know."""
    other = Authority(place.folder, "other")
    for trusted in (other.file, None):
        said = place.refusal(place.url(tls_ca_file=trusted))
        assert "signed by none that is trusted" in said, said
        assert "tls_ca_file" in said


def test_a_certificate_for_another_host(place: Place) -> None:
    """The name in the certificate has to be the host's, or the one that tls_server_name gives."""
    for url in (place.url("localhost"), place.url(tls_server_name="other.example")):
        said = place.refusal(url)
        assert "is not for" in said, said
    assert place.answers(place.url("localhost", tls_server_name="cluster.example"))


def test_a_client_that_the_cluster_does_not_know(place: Place) -> None:
    """Without a certificate, or with one of another authority, it lets nobody in; the error says what to give."""
    certificate, key = Authority(place.folder, "unknown").sign("client")
    for files in ({"tls_cert_file": None, "tls_key_file": None}, {"tls_cert_file": certificate, "tls_key_file": key}):
        said = place.refusal(place.url(**files))
        assert "refuses the certificate of this process" in said or "ends the connection" in said, said
        assert "tls_cert_file" in said


def test_no_tls_where_the_cluster_has_it(place: Place, server: Server) -> None:
    """The wrong kind of address is an error that names the other."""
    said = place.refusal(f"temporal://127.0.0.1:{place.peer.port}/default")
    assert "temporal+tls://" in said
    said = place.refusal(f"temporal+tls://127.0.0.1:{server.port}/default")
    assert "no Temporal cluster answers" in said, said


def test_files_that_are_not_what_they_should_be(place: Place, tmp_path: Path) -> None:
    """A missing file, and one with something else in it, are errors that name the option; nothing of it is quoted."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("secret-thing")
    for option in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
        for path in (wrong, tmp_path / "missing.pem"):
            with pytest.raises(OptionError, match=option) as refused:
                cluster_at(place.url(**{option: path})).list_runs()
            assert "secret-thing" not in str(refused.value)
