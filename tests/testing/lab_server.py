"""A server of a test's own, for tests in Python. Not thread safe.

    server = LabServer(bin_dir)
    case.addClassCleanup(server.close)
    server.dissonance("models", "list")

Neither a server nor a profile of the user's plays a part: what runs in
`environment` finds this server and no other.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TINY_WORLD = SOURCE / "data/tiny_world"
TIMEOUT_S = 240


class LabServer:
    """Runs from its construction until `close`."""

    def __init__(self, bin_dir: pathlib.Path, config: str = "") -> None:
        """With the programs of `bin_dir`; `config` is TOML."""
        self._bin_dir = bin_dir
        self._temporary = tempfile.TemporaryDirectory(prefix="dissonance.")
        # Removed by `close`; tests may keep files here.
        self.folder = pathlib.Path(self._temporary.name)
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("DISSONANCE_", "XDG_"))
        } | {"DISSONANCE_DATA_DIR": str(self.folder / "data"),
             "XDG_CONFIG_HOME": str(self.folder / "config")}
        (self.folder / "server.toml").write_text(config, "utf-8")
        self.dissonance("server", "start", "--listen", "unix",
                        "--config", str(self.folder / "server.toml"))

    def close(self) -> None:
        self.dissonance("server", "stop")
        self._temporary.cleanup()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """The command, ended, in `environment`."""
        return subprocess.run(
            command, env=self.environment, text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False)

    def dissonance(self, *arguments: str) -> str:
        """What the command line prints. Raises AssertionError if it fails."""
        result = self.run(str(self._bin_dir / "dissonance"), *arguments)
        if result.returncode != 0:
            raise AssertionError(f"dissonance {arguments}: {result.stderr}")
        return result.stdout

    def log(self) -> str:
        """The server's log."""
        return (self.folder / "data/logs/dissonanced.log").read_text("utf-8")
