"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from .errors import InvalidArgument


def check_file_name(name: str) -> None:
    """Raises InvalidArgument unless it stays in the folder it is written to.

    That is a plain name, with one folder before it at most.
    """
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    if len(parts) > 2 or not plain:
        raise InvalidArgument(
            f'the job names an output "{name}", which is not a plain file name; '
            "nothing was written"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file beside its place, then moves it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
