"""A connection to a server."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ..info import ServerInfo
from ..transport import Transport
from ..v1 import admin_pb2
from .adapters import Adapters
from .artifacts import Artifacts
from .compute import Compute
from .directions import Directions
from .jobs import Jobs
from .models import Models
from .network import Network
from .probes import Probes


class Client(Compute):
    """A connection to a server. For one event loop; cheap to keep open.

    Its parts are for things of one kind each: models, adapters, directions, probes,
    jobs, artifacts.
    """

    def __init__(self, transport: Transport) -> None:
        """See connect()."""
        self._transport = transport
        self.models = Models(transport)
        self.adapters = Adapters(transport)
        self.directions = Directions(transport)
        self.probes = Probes(transport)
        self.artifacts = Artifacts(transport)
        self.jobs = Jobs(transport)

    async def __aenter__(self) -> Self:
        """Asks the server who it is, so that a wrong address or token shows here."""
        await self.server_info()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        await self.close()

    async def close(self) -> None:
        """Closes the connection; jobs go on."""
        await self._transport.close()

    async def server_info(self) -> ServerInfo:
        """Versions, addresses, workers, and who is asking.

        Raises Unavailable if no server answers, Unauthenticated for a bad token.
        """
        response = await self._transport.call(
            "Admin/ServerInfo",
            admin_pb2.ServerInfoRequest(),
            admin_pb2.ServerInfoResponse,
            repeat=False,
        )
        return ServerInfo.of(response)

    def network(self, model: str, adapter: str | None = None) -> Network:
        """A loaded model, or it with one of its adapters.

        Nothing is asked of the server: a wrong name shows with the first call.
        """
        return Network(model, adapter, client=self)
