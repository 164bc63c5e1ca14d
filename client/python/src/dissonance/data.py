"""Data of a job: a file, bytes, rows, or an artifact."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import InvalidArgument

Data = str | os.PathLike[str] | bytes | Mapping[str, Any] | Iterable[Mapping[str, Any]]
"""A path, bytes, rows (dicts, sent as JSON lines), one object, or
"artifacts/sha256:HEX"."""

INLINE_LIMIT_BYTES = 16 << 20
ARTIFACT = "artifacts/sha256:"


def is_artifact(data: Data) -> bool:
    """Whether this names an artifact."""
    return isinstance(data, str) and data.startswith(ARTIFACT)


def contents_of(data: Data) -> bytes:
    """The bytes of data that is no artifact; rows as JSON lines."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, str | os.PathLike):
        return Path(data).read_bytes()
    if isinstance(data, Mapping):
        return json.dumps(dict(data), ensure_ascii=False).encode()
    rows = list(data)
    if not all(isinstance(row, Mapping) for row in rows):
        raise InvalidArgument("data: rows are dicts, e.g. those of read_rows(path)")
    lines = (json.dumps(dict(row), ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def name_of(data: Data, otherwise: str) -> str:
    """What the server's messages call it."""
    if isinstance(data, str | os.PathLike) and not is_artifact(data):
        return Path(data).name
    return otherwise


def is_large(contents: bytes) -> bool:
    """Whether they go as an artifact."""
    return len(contents) > INLINE_LIMIT_BYTES
