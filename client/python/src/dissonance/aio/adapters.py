"""LoRA adapters."""

from __future__ import annotations

import builtins
import os

from ..info import Adapter
from ..names import adapter_name, model_name
from ..settings import absolute
from ..transport import Transport
from ..v1 import models_pb2 as pb
from .models import visibility_number
from .pages import all_pages


class Adapters:
    """Registers, lists and releases the adapters of a model."""

    def __init__(self, transport: Transport) -> None:
        """Part of a Client."""
        self._transport = transport

    async def register(
        self,
        path: str | os.PathLike[str],
        model: str,
        name: str,
        *,
        visibility: str = "",
    ) -> Adapter:
        """Reads a PEFT directory of the server's machine; keeps it resident.

        Registering a name again replaces its content; requests that run finish on
        what they began with.
        """
        request = pb.RegisterAdapterRequest(
            name=adapter_name(model, name),
            path=absolute(path),
            visibility=visibility_number(visibility),
        )
        return await self._register(request)

    async def register_artifacts(
        self,
        config: str,
        weights: str,
        model: str,
        name: str,
        *,
        visibility: str = "",
    ) -> Adapter:
        """The same of a PEFT directory's two files as artifacts."""
        request = pb.RegisterAdapterRequest(
            name=adapter_name(model, name),
            artifacts=pb.AdapterArtifacts(config=config, weights=weights),
            visibility=visibility_number(visibility),
        )
        return await self._register(request)

    async def get(self, model: str, name: str) -> Adapter:
        """One adapter. Raises NotFound."""
        request = pb.GetAdapterRequest(name=adapter_name(model, name))
        response = await self._transport.call(
            "Models/GetAdapter", request, pb.GetAdapterResponse
        )
        return Adapter.of(response.adapter)

    async def list(self, model: str) -> builtins.list[Adapter]:
        """The adapters of a model, by name."""
        found = await all_pages(
            self._transport,
            "Models/ListAdapters",
            pb.ListAdaptersRequest(parent=model_name(model)),
            pb.ListAdaptersResponse,
            "adapters",
        )
        return [Adapter.of(each) for each in found]

    async def load(self, model: str, name: str) -> Adapter:
        """Makes a registered adapter resident again."""
        request = pb.LoadAdapterRequest(name=adapter_name(model, name))
        response = await self._transport.call(
            "Models/LoadAdapter", request, pb.LoadAdapterResponse, timeout=None
        )
        return Adapter.of(response.adapter)

    async def unload(self, model: str, name: str) -> Adapter:
        """Releases an adapter's weights; it stays registered."""
        request = pb.UnloadAdapterRequest(name=adapter_name(model, name))
        response = await self._transport.call(
            "Models/UnloadAdapter", request, pb.UnloadAdapterResponse
        )
        return Adapter.of(response.adapter)

    async def delete(self, model: str, name: str) -> None:
        """Releases and forgets an adapter; files are left alone."""
        await self._transport.call(
            "Models/DeleteAdapter",
            pb.DeleteAdapterRequest(name=adapter_name(model, name)),
            pb.DeleteAdapterResponse,
            repeat=False,
        )

    async def share(self, model: str, name: str, visibility: str = "lab") -> Adapter:
        """Shows an adapter to the lab, or no longer ("private")."""
        request = pb.UpdateAdapterRequest(
            name=adapter_name(model, name), visibility=visibility_number(visibility)
        )
        response = await self._transport.call(
            "Models/UpdateAdapter", request, pb.UpdateAdapterResponse
        )
        return Adapter.of(response.adapter)

    async def _register(self, request: pb.RegisterAdapterRequest) -> Adapter:
        response = await self._transport.call(
            "Models/RegisterAdapter",
            request,
            pb.RegisterAdapterResponse,
            timeout=None,
        )
        return Adapter.of(response.adapter)
