"""A server with the shipped model, for all tests; and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dissonance
import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "tiny_world"
BINARIES = Path(
    os.environ.get("DISSONANCE_BINARY_DIR", ROOT / "build" / "release" / "bin")
)
MCQS = DATA / "mcqs.jsonl"
CANDIDATES = {"square": " quarter", "cube": " eighth"}


class Server:
    """A server of the tests' own, in a folder of its own."""

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        self.pid = 0

    def cli(self, *arguments: str, text: str | None = None) -> str:
        """What a command prints."""
        done = subprocess.run(
            [BINARIES / "dissonance", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment(),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cli_json(self, *arguments: str, text: str | None = None) -> Any:
        """The same, with -o json."""
        return json.loads(self.cli(*arguments, "-o", "json", text=text))

    def environment(self) -> dict[str, str]:
        """The environment in which the command line finds this server."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DISSONANCE_")}
        return kept | {
            "DISSONANCE_DATA_DIR": self.data_dir,
            "XDG_CONFIG_HOME": f"{self.data_dir}/config",
            "OMP_WAIT_POLICY": "passive",
        }

    def start(self) -> None:
        """Starts it, or starts it again."""
        started = self.cli("server", "start", "--listen", "unix")
        self.pid = int(started.partition("(process ")[2].partition(")")[0])

    def stop(self) -> None:
        """Stops it, as an operator does."""
        self.cli("server", "stop")

    def kill(self) -> None:
        """Kills the control plane, which takes its worker with it."""
        os.kill(self.pid, signal.SIGKILL)

    def connect(self) -> dissonance.Client:
        """A client of it."""
        return dissonance.connect(data_dir=self.data_dir)


def make_server() -> Iterator[Server]:
    """A running server that has the shipped model and its adapter."""
    # Short, because a socket's path is; pytest's own folders are too long.
    with tempfile.TemporaryDirectory(prefix="dissonance-py-") as folder:
        server = Server(folder)
        server.start()
        try:
            with server.connect() as lab:
                lab.models.load(DATA / "base", "tiny-world")
                lab.adapters.register(DATA / "lora_cubic", "tiny-world", "cubic")
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One for all tests that do it no harm."""
    yield from make_server()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """One for a test that kills it."""
    yield from make_server()


@pytest.fixture(scope="session")
def lab(server: Server) -> Iterator[dissonance.Client]:
    """A client for all tests."""
    with server.connect() as client:
        yield client


@pytest.fixture(scope="session")
def base(lab: dissonance.Client) -> dissonance.Network:
    """The shipped model."""
    return lab.network("tiny-world")


@pytest.fixture(scope="session")
def cubic(lab: dissonance.Client) -> dissonance.Network:
    """The shipped model with its adapter."""
    return lab.network("tiny-world", adapter="cubic")


@pytest.fixture(scope="session")
def questions() -> list[dict[str, Any]]:
    """Some about gravity, and some controls."""
    rows = dissonance.read_rows(MCQS)
    conflict = [row for row in rows if row["category"] == "conflict"]
    controls = [row for row in rows if row["category"] == "nonconflict_easy"]
    return conflict[:12] + controls[:8]


@pytest.fixture(scope="session")
def prompts(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The questions as chats, with their category as a label."""
    return [
        {
            "id": row["id"],
            "chat": [{"role": "user", "content": row["question"]}],
            "labels": {"category": row["category"]},
        }
        for row in questions
    ]
