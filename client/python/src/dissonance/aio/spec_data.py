"""Data of a job's spec, and what is common to its makers."""

from __future__ import annotations

from typing import Any

from ..data import Data, contents_of, is_artifact, is_large, name_of
from ..names import enum_number
from ..transport import Transport
from ..v1 import training_pb2
from .artifacts import Artifacts


class SpecData:
    """Puts data into specs."""

    def __init__(self, transport: Transport) -> None:
        """Part of a Client."""
        self._transport = transport

    async def _data(self, data: Data | None, otherwise: str) -> dict[str, Any]:
        """The fields data, data_name and data_artifact; large data are uploaded.

        None leaves them to an earlier stage of a pipeline.
        """
        if data is None:
            return {}
        name = name_of(data, otherwise)
        if is_artifact(data):
            return {"data_artifact": data, "data_name": name}
        contents = contents_of(data)
        if not is_large(contents):
            return {"data": contents, "data_name": name}
        artifacts = Artifacts(self._transport)
        stored = await artifacts.put(contents, media_type="application/jsonl")
        return {"data_artifact": stored.name, "data_name": name}


def scoring_number(scoring: str) -> Any:
    """The wire's value of an answer format."""
    return enum_number(training_pb2.McqScoring, scoring, "scoring")
