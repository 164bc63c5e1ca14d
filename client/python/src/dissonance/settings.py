"""Where the server is and who asks, found as the command line finds it.

What is given outranks the environment (DISSONANCE_SERVER, DISSONANCE_TOKEN,
DISSONANCE_DATA_DIR, DISSONANCE_PROFILE), which outranks the default profile of
~/.config/dissonance/config.toml. Without any of them the server is the one whose
socket lies in ~/.local/share/dissonance.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InvalidArgument, NotFound

PROFILE_KEYS = (
    "server",
    "data_dir",
    "token_file",
    "tls_ca_file",
    "tls_certificate_file",
    "tls_key_file",
)
# Longest path that fits into sockaddr_un, without the final NUL.
SOCKET_PATH_LIMIT = 107


@dataclass(frozen=True)
class Settings:
    """What the options, the environment and the profile come to."""

    target: str
    """gRPC target: "unix:/PATH" or "HOST:PORT"."""
    token: str | None = field(repr=False)
    """Sent with each call."""
    token_source: str
    """Where the token came from; empty: there is none."""
    tls_ca_file: str | None = None
    """PEM of the authorities that the server is checked against."""
    tls_certificate_file: str | None = None
    """PEM of the certificate that this client shows."""
    tls_key_file: str | None = None
    """PEM of its key."""

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, where it may do without TLS."""
        return is_local(self.target)

    @property
    def names_tls(self) -> bool:
        """Whether anything of TLS was named."""
        return bool(self.tls_ca_file or self.tls_certificate_file)


def resolve(
    address: str | None = None,
    token: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    profile: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
) -> Settings:
    """Settings for connect(), whose arguments these are.

    Raises InvalidArgument for a bad address, token or configuration file, and
    NotFound for an unknown profile or a token file that was named and is not there.
    """
    named = profile or _environment("DISSONANCE_PROFILE")
    values = _load_profile(named)
    folder = absolute(
        data_dir
        or _environment("DISSONANCE_DATA_DIR")
        or values.get("data_dir")
        or _default_data_dir()
    )
    server = _choose_server(address, data_dir, profile, values)
    target = target_of(server) if server else _unix(f"{folder}/dissonance.sock")
    # What belongs to a profile's server is no other server's business.
    own = bool(profile) or (bool(server) and server == values.get("server"))
    if not own:
        values = {}
    found, source = _choose_token(token, bool(profile), values, folder, target)
    return Settings(
        target=target,
        token=found,
        token_source=source,
        tls_ca_file=str(tls_ca) if tls_ca else values.get("tls_ca_file"),
        tls_certificate_file=values.get("tls_certificate_file"),
        tls_key_file=values.get("tls_key_file"),
    )


def absolute(path: str | os.PathLike[str]) -> str:
    """`path` against the working folder, with a leading ~ replaced."""
    return str(Path(os.path.normpath(Path(path).expanduser().absolute())))


def is_local(target: str) -> bool:
    """Whether a target is a unix socket or this machine's loopback."""
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0]
    return host in ("localhost", "[::1]") or host.startswith("127.")


def target_of(address: str) -> str:
    """The gRPC target of an address as people write it."""
    for prefix in ("unix://", "unix:"):
        if address.startswith(prefix):
            return _unix(address.removeprefix(prefix))
    if "/" in address:
        return _unix(address)
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise InvalidArgument(
            f'server address "{address}" is neither HOST:PORT nor unix:/PATH'
        )
    if not 1 <= int(port) <= 65535:
        raise InvalidArgument(f'server address "{address}" has no port 1 to 65535')
    return address


def _environment(name: str) -> str:
    return os.environ.get(name, "")


def _default_data_dir() -> str:
    return (_environment("XDG_DATA_HOME") or "~/.local/share") + "/dissonance"


def _unix(path: str) -> str:
    full = absolute(path)
    if len(os.fsencode(full)) > SOCKET_PATH_LIMIT:
        raise InvalidArgument(
            f"the socket's path {full} is longer than {SOCKET_PATH_LIMIT} bytes, "
            "which the system does not take; choose a shorter data_dir"
        )
    return f"unix:{full}"


def _load_profile(name: str) -> dict[str, str]:
    base = _environment("XDG_CONFIG_HOME") or "~/.config"
    path = Path(absolute(f"{base}/dissonance/config.toml"))
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not name:
            return {}
        raise NotFound(f"profile {name} is not known: there is no {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path}: {error}") from None
    name = name or str(config.get("default_profile", ""))
    if not name:
        return {}
    profile = config.get("profiles", {}).get(name)
    if not isinstance(profile, dict):
        raise NotFound(f"no table [profiles.{name}] in {path}")
    return _check_profile(profile, f"{path}: [profiles.{name}]")


def _check_profile(profile: dict[str, object], where: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, value in profile.items():
        if key not in PROFILE_KEYS or not isinstance(value, str):
            wrong = "a string" if key in PROFILE_KEYS else "a key of a profile"
            raise InvalidArgument(
                f"{where}: {key} is not {wrong}; a profile has the strings "
                + ", ".join(PROFILE_KEYS)
            )
        values[key] = value
    if bool(values.get("tls_certificate_file")) != bool(values.get("tls_key_file")):
        raise InvalidArgument(
            f"{where}: a client that shows a certificate needs both "
            "tls_certificate_file and tls_key_file"
        )
    return values


def _choose_server(
    address: str | None,
    data_dir: str | os.PathLike[str] | None,
    profile: str | None,
    values: dict[str, str],
) -> str:
    """The server as it was named, or empty for the data directory's socket."""
    if address:
        return address
    if data_dir:
        return ""
    if profile:
        return values.get("server", "")
    if server := _environment("DISSONANCE_SERVER"):
        return server
    return "" if _environment("DISSONANCE_DATA_DIR") else values.get("server", "")


def _choose_token(
    token: str | None,
    profile_given: bool,
    values: dict[str, str],
    data_dir: str,
    target: str,
) -> tuple[str | None, str]:
    """The token and where it came from."""
    if token:
        return _check_token(token, "token"), "token="
    path = values.get("token_file", "")
    environment = _environment("DISSONANCE_TOKEN")
    if environment and not (profile_given and path):
        return _check_token(environment, "DISSONANCE_TOKEN"), "DISSONANCE_TOKEN"
    if path:
        path = absolute(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise NotFound(
                f"token file {path}: {error.strerror}",
                hints=("give the token as token=, or set DISSONANCE_TOKEN",),
            ) from None
        return _check_token(text.strip(), path), path
    # The owner's token is never sent to another machine.
    path = f"{data_dir}/owner.token"
    if is_local(target) and Path(path).is_file() and os.access(path, os.R_OK):
        text = Path(path).read_text(encoding="utf-8")
        return _check_token(text.strip(), path), path
    return None, ""


def _check_token(token: str, source: str) -> str:
    if not token or not all("!" <= c <= "~" for c in token):
        raise InvalidArgument(f"{source} does not hold a token, which is one word")
    return token
