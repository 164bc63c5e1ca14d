"""Base models."""

from __future__ import annotations

import builtins
import os

from ..info import Invariant, Model
from ..names import enum_number, model_name
from ..settings import absolute
from ..tensors import DType, dtype_number
from ..transport import Transport
from ..v1 import authorization_pb2
from ..v1 import models_pb2 as pb
from .pages import all_pages


class Models:
    """Loads, lists and releases base models."""

    def __init__(self, transport: Transport) -> None:
        """Part of a Client."""
        self._transport = transport

    async def load(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        dtype: DType | None = None,
        pinned: bool = False,
        visibility: str = "",
    ) -> Model:
        """Reads a Hugging Face directory of the server's machine; keeps it resident.

        Loading a name again with the same contents and type changes nothing. `dtype`
        is the checkpoint's own unless given, `visibility` private or lab. Raises
        AlreadyExists if the name holds other weights.
        """
        request = pb.LoadModelRequest(
            name=model_name(name),
            path=absolute(path),
            dtype=dtype_number(dtype),
            pinned=pinned,
            visibility=visibility_number(visibility),
        )
        response = await self._transport.call(
            "Models/LoadModel", request, pb.LoadModelResponse, timeout=None
        )
        return Model.of(response.model)

    async def get(self, name: str) -> Model:
        """One model. Raises NotFound."""
        request = pb.GetModelRequest(name=model_name(name))
        response = await self._transport.call(
            "Models/GetModel", request, pb.GetModelResponse
        )
        return Model.of(response.model)

    async def list(self) -> builtins.list[Model]:
        """All models that the caller sees, by name."""
        found = await all_pages(
            self._transport,
            "Models/ListModels",
            pb.ListModelsRequest(),
            pb.ListModelsResponse,
            "models",
        )
        return [Model.of(each) for each in found]

    async def unload(self, name: str) -> None:
        """Releases the weights and forgets the model and its adapters."""
        await self._transport.call(
            "Models/UnloadModel",
            pb.UnloadModelRequest(name=model_name(name)),
            pb.UnloadModelResponse,
            repeat=False,
        )

    async def self_check(self, name: str, *, seed: int = 0) -> builtins.list[Invariant]:
        """Checks on a loaded model what every result relies on."""
        response = await self._transport.call(
            "Models/SelfCheck",
            pb.SelfCheckRequest(name=model_name(name), seed=seed),
            pb.SelfCheckResponse,
            timeout=None,
        )
        return [Invariant.of(each) for each in response.invariants]

    async def share(self, name: str, visibility: str = "lab") -> Model:
        """Shows a model to the lab, or no longer ("private")."""
        request = pb.UpdateModelRequest(
            name=model_name(name), visibility=visibility_number(visibility)
        )
        response = await self._transport.call(
            "Models/UpdateModel", request, pb.UpdateModelResponse
        )
        return Model.of(response.model)


def visibility_number(word: str) -> authorization_pb2.Visibility:
    """The wire's value of "private", "lab" or "" (as it is)."""
    if not word:
        return authorization_pb2.VISIBILITY_UNSPECIFIED
    number: authorization_pb2.Visibility = enum_number(
        authorization_pb2.Visibility, word, "visibility"
    )
    return number
