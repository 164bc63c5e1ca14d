"""Finding the server as the command line finds it. Needs no server."""

from __future__ import annotations

from pathlib import Path

import dissonance
import pytest
from dissonance.settings import SOCKET_PATH_LIMIT, resolve, target_of

CONFIG = """
default_profile = "lab"
[profiles.lab]
server = "lab.example:7433"
token_file = "{folder}/lab.token"
tls_ca_file = "{folder}/ca.pem"
[profiles.near]
data_dir = "{folder}/near"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SERVER", "TOKEN", "DATA_DIR", "PROFILE"):
        monkeypatch.delenv(f"DISSONANCE_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def write_config(home: Path, text: str = CONFIG) -> None:
    (home / "config" / "dissonance").mkdir(parents=True)
    path = home / "config" / "dissonance" / "config.toml"
    path.write_text(text.format(folder=home))
    (home / "lab.token").write_text("lab-secret\n")


def owner_token(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "owner.token").write_text("owner-secret\n")


def test_default_is_the_socket_and_owner_token_of_the_data_folder(home: Path) -> None:
    owner_token(home / "data" / "dissonance")
    found = resolve()
    assert found.target == f"unix:{home}/data/dissonance/dissonance.sock"
    assert found.token == "owner-secret"


def test_argument_outranks_environment_outranks_default_profile(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(home)
    assert resolve().target == "lab.example:7433"
    monkeypatch.setenv("DISSONANCE_DATA_DIR", str(home / "other"))
    assert resolve().target == f"unix:{home}/other/dissonance.sock"
    monkeypatch.setenv("DISSONANCE_SERVER", "127.0.0.1:7")
    assert resolve().target == "127.0.0.1:7"
    assert resolve(data_dir=home / "mine").target == f"unix:{home}/mine/dissonance.sock"
    assert resolve("10.0.0.1:9").target == "10.0.0.1:9"


def test_profile_brings_its_token_and_authorities(home: Path) -> None:
    write_config(home)
    found = resolve(profile="lab")
    assert found.token == "lab-secret"
    assert found.tls_ca_file == f"{home}/ca.pem"
    assert resolve(profile="near").target == f"unix:{home}/near/dissonance.sock"


def test_profile_token_is_not_sent_to_another_server(home: Path) -> None:
    write_config(home)
    assert resolve("other.example:1").token is None
    assert resolve("other.example:1").tls_ca_file is None


def test_owner_token_is_not_sent_to_another_machine(home: Path) -> None:
    owner_token(home / "data" / "dissonance")
    assert resolve("far.example:1").token is None
    assert resolve("127.0.0.1:1").token == "owner-secret"


def test_given_token_outranks_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISSONANCE_TOKEN", "from-environment")
    assert resolve().token == "from-environment"
    assert resolve(token="given").token == "given"


def test_token_is_not_shown() -> None:
    assert "given" not in repr(resolve(token="given"))


def test_tls_is_used_for_other_machines_only(home: Path) -> None:
    assert not resolve("far.example:1").local
    assert resolve("[::1]:1").local
    assert resolve("localhost:1").local
    assert resolve("localhost:1", tls_ca=home / "ca.pem").names_tls


@pytest.mark.parametrize(
    "address", ["lab", "lab:", ":7", "lab:0", "lab:x", "lab:70000"]
)
def test_bad_addresses_are_named(address: str) -> None:
    with pytest.raises(dissonance.InvalidArgument, match=address):
        target_of(address)


def test_long_socket_path_is_refused() -> None:
    with pytest.raises(dissonance.InvalidArgument, match="longer than 107 bytes"):
        resolve(data_dir="/" + "x" * SOCKET_PATH_LIMIT)


def test_unknown_profile_and_bad_key_are_named(home: Path) -> None:
    with pytest.raises(dissonance.NotFound, match="profile far is not known"):
        resolve(profile="far")
    write_config(home, '[profiles.bad]\nserver = "a:1"\nport = "2"\n')
    with pytest.raises(dissonance.NotFound, match=r"no table \[profiles.far\]"):
        resolve(profile="far")
    with pytest.raises(dissonance.InvalidArgument, match="port is not a key"):
        resolve(profile="bad")


def test_missing_token_file_is_named(home: Path) -> None:
    write_config(home)
    (home / "lab.token").unlink()
    with pytest.raises(dissonance.NotFound, match=r"lab\.token"):
        resolve(profile="lab")


def test_token_of_two_words_is_refused() -> None:
    with pytest.raises(dissonance.InvalidArgument, match="one word"):
        resolve(token="two words")


def test_no_server_says_how_to_start_one(home: Path) -> None:
    with pytest.raises(dissonance.Unavailable, match="dissonance server start"):
        dissonance.connect(data_dir=home)
