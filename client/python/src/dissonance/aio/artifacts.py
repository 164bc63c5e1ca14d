"""Content-addressed files."""

from __future__ import annotations

import builtins
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

from ..errors import DataLoss, Unavailable
from ..info import Artifact
from ..transport import FIRST_PAUSE_SECONDS, Transport
from ..v1 import artifacts_pb2 as pb
from .pages import all_pages

PIECE_BYTES = 1 << 20
# In a row without anything new having arrived.
ATTEMPTS = 5


class Artifacts:
    """Stores and reads files by the SHA-256 of their bytes."""

    def __init__(self, transport: Transport) -> None:
        """Part of a Client."""
        self._transport = transport

    async def list(self, limit: int | None = None) -> builtins.list[Artifact]:
        """Those that the caller sees, newest first."""
        found = await all_pages(
            self._transport,
            "Artifacts/ListArtifacts",
            pb.ListArtifactsRequest(),
            pb.ListArtifactsResponse,
            "artifacts",
            limit,
        )
        return [Artifact.of(each) for each in found]

    async def get(self, name: str) -> Artifact:
        """One artifact's metadata. Raises NotFound."""
        request = pb.GetArtifactRequest(name=_name(name))
        response = await self._transport.call(
            "Artifacts/GetArtifact", request, pb.GetArtifactResponse
        )
        return Artifact.of(response.artifact)

    async def read(self, name: str) -> bytes:
        """All bytes, checked against the name; goes on where a stream broke."""
        name = _name(name)
        contents = bytearray()
        for attempt in range(ATTEMPTS):
            try:
                await self._read_on(name, contents)
                break
            except Unavailable:
                if attempt == ATTEMPTS - 1:
                    raise
            await self._transport.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        digest = hashlib.sha256(contents).hexdigest()
        if digest != name.rpartition(":")[2]:
            raise DataLoss(
                f"{name}: the bytes received have the digest sha256:{digest}",
                hints=("read it again; if that repeats, the server's copy is damaged",),
            )
        return bytes(contents)

    async def put(
        self, data: bytes | str | os.PathLike[str], *, media_type: str | None = None
    ) -> Artifact:
        """Stores bytes, or the file at a path.

        What the server has already is not sent again; a broken upload goes on where
        it stopped.
        """
        if isinstance(data, bytes):
            kind = media_type or "application/octet-stream"
            return await self._put(io.BytesIO(data), kind)
        with Path(data).open("rb") as file:
            return await self._put(file, media_type or _media_type(os.fspath(data)))

    async def delete(self, name: str) -> None:
        """Gives up ownership; the bytes go when nobody owns them."""
        await self._transport.call(
            "Artifacts/DeleteArtifact",
            pb.DeleteArtifactRequest(name=_name(name)),
            pb.DeleteArtifactResponse,
            repeat=False,
        )

    async def _read_on(self, name: str, contents: bytearray) -> None:
        request = pb.ReadArtifactRequest(name=name, offset_bytes=len(contents))
        async with aclosing(
            self._transport.stream(
                "Artifacts/ReadArtifact", request, pb.ReadArtifactResponse
            )
        ) as pieces:
            async for piece in pieces:
                contents += piece.data

    async def _put(self, file: io.BufferedIOBase, media_type: str) -> Artifact:
        name = f"artifacts/sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        size = file.seek(0, os.SEEK_END)
        received = -1
        attempt = 0
        while True:
            there = await self._transport.call(
                "Artifacts/GetUpload",
                pb.GetUploadRequest(name=name),
                pb.GetUploadResponse,
            )
            if there.complete:
                return await self.get(name)
            if there.received_bytes > received:
                received, attempt = there.received_bytes, 0
            try:
                response = await self._transport.upload(
                    "Artifacts/WriteArtifact",
                    _pieces(file, name, size, media_type, there.received_bytes),
                    pb.WriteArtifactResponse,
                )
                return Artifact.of(response.artifact)
            except Unavailable:
                attempt += 1
                if attempt == ATTEMPTS:
                    raise
            await self._transport.sleep(FIRST_PAUSE_SECONDS * 2**attempt)


def _pieces(
    file: io.BufferedIOBase, name: str, size: int, media_type: str, offset: int
) -> Iterator[pb.WriteArtifactRequest]:
    """Messages from `offset` on; also an empty file takes one."""
    file.seek(offset)
    first = True
    while first or offset < size:
        data = file.read(PIECE_BYTES)
        message = pb.WriteArtifactRequest(offset_bytes=offset, data=data)
        if first:
            message.name, message.size_bytes = name, size
            message.media_type = media_type
        if not data and offset < size:
            return
        yield message
        offset += len(data)
        first = False


def _media_type(path: str) -> str:
    kinds = {
        ".jsonl": "application/jsonl",
        ".json": "application/json",
        ".txt": "text/plain",
    }
    return kinds.get(Path(path).suffix, "application/octet-stream")


def _name(name: str) -> str:
    return name if name.startswith("artifacts/") else f"artifacts/{name}"
