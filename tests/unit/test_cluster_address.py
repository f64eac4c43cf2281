"""The address of a cluster: no secret is in it or gets out of it, and nothing that was asked for is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.config import cluster_options, secrets, settings
from perdure.engines.selection import capabilities_at
from perdure.engines.temporal.address import Address
from perdure.errors import OptionError

SECRET = "canary-41c0ffee"
TLS = "temporal+tls://host:7233/default"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [cluster_options.variable(name) for name in cluster_options.NAMES]
    for name in ("PERDURE_ENGINE", "PERDURE_API_KEY", "PERDURE_ENCRYPTION_KEYS", *names):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "url",
    [
        f"temporal+tls://user:{SECRET}@host/default",
        f"temporal://{SECRET}@host/default",
        f"{TLS}?api_key={SECRET}",
        f"{TLS}?encryption_keys=a:{SECRET}",
        f"{TLS}?apikey={SECRET}",
        f"temporals://user:{SECRET}@host/default?token={SECRET}",
        f"temporal+tls://user:{SECRET}@host:port/default",
        f"temporal+tls://user:{SECRET}@[host/default",
    ],
)
def test_a_secret_in_the_address(url: str) -> None:
    """It is refused, and the error does not repeat it."""
    with pytest.raises(OptionError) as refused:
        Address.of(url)
    assert SECRET not in str(refused.value)
    with pytest.raises(OptionError) as refused:
        capabilities_at(url.replace("temporal", "temporals"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("option", ["tls_ca_file=/ca.pem", "tls_server_name=host", "api_key_file=/key"])
def test_protection_that_is_not_there(option: str) -> None:
    """What belongs to TLS is refused at an address without it: nothing travels in clear that was not to."""
    with pytest.raises(OptionError, match=r"no TLS.*\n.*temporal\+tls://"):
        Address.of(f"temporal://host/default?{option}")
    assert Address.of(f"temporal+tls://host/default?{option}").tls


def test_an_api_key_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a key in the environment."""
    monkeypatch.setenv("PERDURE_API_KEY", SECRET)
    with pytest.raises(OptionError, match="an API key is given") as refused:
        Address.of("temporal://host/default")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("option", ["tls_cert_file=/c.pem", "tls_key_file=/c.key"])
def test_half_a_client_certificate(option: str) -> None:
    """A certificate without its key, or a key without its certificate, is an error."""
    with pytest.raises(OptionError, match="without tls_"):
        Address.of(f"{TLS}?{option}")


def test_the_address_counts_before_the_environment_before_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option comes from the first of the three that has it; paths are relative to where they stand."""
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.perdure]\nengine = "{TLS}?tls_server_name=one"\ntls_server_name = "three"\n'
        'tls_ca_file = "certs/ca.pem"\napi_key_file = "api.key"\nencryption_keys_file = "keys"\n'
    )
    script = tmp_path / "script.py"
    script.touch()
    monkeypatch.chdir("/")
    monkeypatch.setenv("PERDURE_TLS_SERVER_NAME", "two")
    monkeypatch.setenv("PERDURE_API_KEY_FILE", "env.key")
    found = Address.of(settings.engine_url(str(script)))
    assert found.tls_server_name == "one"
    assert found.api_key_file == "/env.key"
    assert found.tls_ca_file == str(tmp_path / "certs" / "ca.pem")
    assert found.encryption_keys_file == str(tmp_path / "keys")
    assert settings.engine_url(str(script), settings.engine_url(str(script))) == settings.engine_url(str(script))


def test_a_trial_cluster_beside_that_of_the_settings(tmp_path: Path) -> None:
    """A cluster without TLS that an argument names needs no certificates of another; keys count for both."""
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.perdure]\nengine = "{TLS}"\ntls_ca_file = "ca.pem"\nencryption_keys_file = "keys"\n'
    )
    script = tmp_path / "script.py"
    script.touch()
    found = Address.of(settings.engine_url(str(script), "temporal://localhost/default"))
    assert not found.tls
    assert found.encryption_keys_file == str(tmp_path / "keys")


def test_keys_of_the_environment_are_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of PERDURE_ENCRYPTION_KEYS each key by itself is a secret, and so is PERDURE_API_KEY; an id is none."""
    monkeypatch.setenv("PERDURE_ENCRYPTION_KEYS", "first:QUJDREVGR0hJSktMTU5PUA==, second:UVJTVFVWV1hZWjAxMjM0NQ==")
    monkeypatch.setenv("PERDURE_API_KEY", SECRET)
    text = secrets.conceal(f"first QUJDREVGR0hJSktMTU5PUA== UVJTVFVWV1hZWjAxMjM0NQ== {SECRET}")
    assert text.startswith("first ")
    for secret in ("QUJDREVGR0hJSktMTU5PUA", "UVJTVFVWV1hZWjAxMjM0NQ", SECRET):
        assert secret not in text
