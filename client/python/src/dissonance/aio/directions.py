"""Directions that the server keeps by name."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..inputs import Prompts, inputs_of
from ..names import direction_name, enum_number, job_name, model_name
from ..options import DirectionMethod
from ..places import (
    Blocks,
    Place,
    Positions,
    block_numbers,
    place_message,
    place_of,
    positions_message,
    site_numbers,
)
from ..probing import (
    Cosines,
    Direction,
    DirectionVector,
    GivenVectors,
    direction_vectors,
    label_messages,
)
from ..transport import Transport
from ..v1 import probes_pb2 as pb
from ..variant import Variant, variant_messages
from .pages import all_pages


class Directions:
    """Finds, keeps, lists and compares directions.

    What a name stands for never changes while it is there.
    """

    def __init__(self, transport: Transport) -> None:
        """Part of a Client."""
        self._transport = transport

    async def fit(
        self,
        networks: Variant | Iterable[Variant],
        prompts: Prompts,
        labels: Sequence[int] | None = None,
        *,
        method: DirectionMethod = "mean_difference",
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
    ) -> builtins.list[DirectionVector]:
        """A direction for every place, which make() keeps.

        `labels` are classes 1 and 0, -1 leaves a prompt out. mean_difference: class 1
        less class 0. contrast_pca: first component of the differences within each
        group. variant_difference: the first network less the second, of class 1 or
        all prompts.
        """
        request = pb.FitDirectionsRequest(
            variants=variant_messages(networks),
            inputs=inputs_of(prompts),
            sites=site_numbers(sites),
            blocks=block_numbers(blocks),
            positions=positions_message(positions),
            labels=None if labels is None else label_messages(labels)[0],
            method=enum_number(pb.DirectionMethod, method, "method"),
        )
        response = await self._transport.call(
            "Probes/FitDirections", request, pb.FitDirectionsResponse, timeout=None
        )
        return [DirectionVector.of(each) for each in response.vectors]

    async def make(
        self,
        name: str,
        vectors: GivenVectors,
        *,
        model: str,
        place: Place | tuple[str, int | None] | str | None = None,
        method: DirectionMethod = "given",
        source: Mapping[str, Any] | None = None,
        shared: bool = False,
    ) -> Direction:
        """Keeps vectors, at length 1, under a name.

        `vectors` are what fit() or a job's vectors() give; arrays by the name of
        their place, as tensors("direction.safetensors") of a job gives them; or
        one array, with its `place`, ("resid_post", 2) or "blocks.2.resid_post".
        `source` says where they come from, for those who find them later. Raises
        AlreadyExists if the name is taken.
        """
        own = direction_vectors(vectors, place)
        given = pb.GivenVectors(
            model=model_name(model),
            vectors=[each.message() for each in own],
            method=enum_number(pb.DirectionMethod, method, "method"),
            source_json=json.dumps(dict(source)) if source else "",
        )
        return await self._create(name, shared, given=given)

    async def make_from_probes(
        self,
        name: str,
        job: str,
        *,
        target: str = "",
        variant: int = 0,
        places: Iterable[Place | tuple[str, int | None] | str] = (),
        c: float = 0.0,
        shared: bool = False,
    ) -> Direction:
        """Keeps the weights of a train_probes job's probes.

        `target` and `c` may be left out where there is one, `variant` counts the
        job's networks from 0, `places` are all unless given.
        """
        probes = pb.ProbeVectors(
            job=job_name(job),
            target=target,
            variant_index=variant,
            places=[place_message(each) for each in places],
            c=c,
        )
        return await self._create(name, shared, probes=probes)

    async def get(self, name: str) -> Direction:
        """One direction, with its vectors. Raises NotFound."""
        request = pb.GetDirectionRequest(name=direction_name(name))
        response = await self._transport.call(
            "Directions/GetDirection", request, pb.GetDirectionResponse
        )
        return Direction.of(response.direction)

    async def list(self) -> builtins.list[Direction]:
        """All that the caller sees, by name, without their vectors."""
        found = await all_pages(
            self._transport,
            "Directions/ListDirections",
            pb.ListDirectionsRequest(),
            pb.ListDirectionsResponse,
            "directions",
        )
        return [Direction.of(each) for each in found]

    async def compare(self, *names: str) -> Cosines:
        """Cosines between all vectors of directions of equal width."""
        request = pb.CompareDirectionsRequest(names=[direction_name(n) for n in names])
        response = await self._transport.call(
            "Directions/CompareDirections", request, pb.CompareDirectionsResponse
        )
        vectors = tuple((v.direction, place_of(v.place)) for v in response.vectors)
        matrix = np.array(response.cosines).reshape(len(vectors), len(vectors))
        return Cosines(vectors, matrix)

    async def delete(self, name: str) -> None:
        """Forgets a direction; jobs keep what they took from it."""
        await self._transport.call(
            "Directions/DeleteDirection",
            pb.DeleteDirectionRequest(name=direction_name(name)),
            pb.DeleteDirectionResponse,
            repeat=False,
        )

    async def _create(self, name: str, shared: bool, **source: Any) -> Direction:
        request = pb.CreateDirectionRequest(
            name=direction_name(name), shared=shared, **source
        )
        response = await self._transport.call(
            "Directions/CreateDirection",
            request,
            pb.CreateDirectionResponse,
            repeat=False,
        )
        return Direction.of(response.direction)
