"""Files: stored once, read whole, over connections that break."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import dissonance
import pytest
from conftest import Server
from dissonance import aio, settings
from dissonance.files import write_atomically
from dissonance.transport import Blocking

SIZE = (5 << 20) + 17


def contents(seed: str) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(SIZE)


class Breaking(Blocking):
    """Loses each stream once, after two messages."""

    def __init__(self, of: settings.Settings) -> None:
        super().__init__(of)
        self.broken = False
        self.offsets: list[int] = []

    async def stream(
        self, method: str, request: Any, response: Any
    ) -> AsyncGenerator[Any, None]:
        self.offsets.append(request.offset_bytes)
        left = 2
        async for message in super().stream(method, request, response):
            if left == 0 and not self.broken:
                self.broken = True
                raise dissonance.Unavailable("lost")
            left -= 1
            yield message

    async def upload(self, method: str, requests: Iterator[Any], response: Any) -> Any:
        first = next(requests)
        self.offsets.append(first.offset_bytes)
        if self.broken:
            return await super().upload(method, chain(first, requests), response)
        self.broken = True
        with pytest.raises(dissonance.Error):
            await super().upload(method, iter([first, next(requests)]), response)
        raise dissonance.Unavailable("lost")


def chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


@pytest.fixture
def breaking(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Breaking, dissonance.Client]]:
    monkeypatch.setattr("dissonance.transport.time.sleep", lambda _: None)
    transport = Breaking(settings.resolve(data_dir=server.data_dir))
    client = dissonance.Client(aio.Client(transport))
    yield transport, client
    client.close()


def test_bytes_and_files_are_stored_under_their_digest(
    lab: dissonance.Client, tmp_path: Path
) -> None:
    data = contents("stored")
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    by_bytes = lab.artifacts.put(data)
    by_path = lab.artifacts.put(path)
    assert by_bytes.name == by_path.name
    assert by_path.name.endswith(hashlib.sha256(data).hexdigest())
    assert lab.artifacts.read(by_path.name) == data
    assert by_path.name in [each.name for each in lab.artifacts.list(limit=5)]
    empty = lab.artifacts.put(b"")
    assert lab.artifacts.read(empty.name) == b""
    lab.artifacts.delete(by_path.name)
    with pytest.raises(dissonance.NotFound):
        lab.artifacts.get(by_path.name)


def test_broken_upload_goes_on_where_it_stopped(
    breaking: tuple[Breaking, dissonance.Client],
) -> None:
    transport, client = breaking
    data = contents("uploaded")
    stored = client.artifacts.put(data)
    assert transport.offsets == [0, 2 << 20]
    assert stored.size_bytes == SIZE


def test_broken_download_goes_on_where_it_stopped(
    lab: dissonance.Client, breaking: tuple[Breaking, dissonance.Client]
) -> None:
    transport, client = breaking
    data = contents("downloaded")
    name = lab.artifacts.put(data).name
    assert client.artifacts.read(name) == data
    assert transport.offsets[0] == 0
    assert 0 < transport.offsets[1] < SIZE


def test_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("dissonance.files.os.fsync", fail)
    path = tmp_path / "out" / "file"
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"data")
    assert not list(path.parent.iterdir())
