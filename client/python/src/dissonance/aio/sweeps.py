"""Specs of sweeps over patches and steerings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ..data import Data
from ..names import enum_number
from ..options import McqScoring
from ..places import (
    Blocks,
    Positions,
    block_numbers,
    positions_message,
    site_number,
    site_numbers,
)
from ..probing import DirectionVector
from ..v1 import common_pb2, interp_jobs_pb2, jobs_pb2
from ..variant import Variant, vector_message
from .spec_data import SpecData, scoring_number
from .text import Candidates, candidate_messages


class SweepSpecs(SpecData):
    """Makes specs of patch_sweep and steering_sweep."""

    async def patch_sweep(
        self,
        source: Variant,
        target: Variant,
        data: Data | None,
        *,
        sites: str | Iterable[str] = ("resid_post", "attn_out", "mlp_out"),
        blocks: Blocks = None,
        positions: Positions | None = None,
        each_head: bool = False,
        both_directions: bool = False,
        candidates: Candidates | None = None,
        attribution: Literal["compare", "alone"] | None = None,
        scoring: McqScoring = "letter_variants",
    ) -> jobs_pb2.JobSpec:
        """Where a belief sits: rows of `source` put into `target`, place by place.

        Positions are the last 8 of each prompt unless given. `attribution` also takes
        the approximation by gradients, or takes it alone.
        """
        use = (
            enum_number(interp_jobs_pb2.AttributionUse, attribution, "attribution")
            if attribution
            else None
        )
        return jobs_pb2.JobSpec(
            patch_sweep=interp_jobs_pb2.PatchSweepSpec(
                source=source.message(),
                target=target.message(),
                both_directions=both_directions,
                sites=site_numbers(sites),
                each_head=each_head,
                blocks=block_numbers(blocks),
                positions=positions_message(positions),
                candidates=await candidate_messages(
                    self._transport, target.model, candidates or {}
                ),
                attribution=use,
                scoring=scoring_number(scoring),
                **await self._data(data, "rows"),
            )
        )

    async def steering_sweep(
        self,
        network: Variant,
        data: Data | None,
        directions: Any,
        *,
        site: str = "resid_post",
        blocks: Blocks = None,
        coefficients: Sequence[float] = (),
        relative: bool = False,
        positions: Sequence[str] = (),
        scoring: McqScoring = "letter_variants",
        null_count: int | None = None,
        refine_count: int | None = None,
        sample_count: int | None = None,
        sample_token_count: int = 0,
        seed: int | None = None,
        control_tolerance: float | None = None,
    ) -> jobs_pb2.JobSpec:
        """Which steering takes a belief back, and at what price.

        `directions` are the name of one, a Direction or its vector, numbers, a list of
        these, or a dict of them by what results call them; None is one that an earlier
        stage of a pipeline finds. `relative`: coefficients are multiples of the mean
        length of the rows at the place.
        """
        sets = [
            enum_number(common_pb2.PositionSet, each, "positions") for each in positions
        ]
        return jobs_pb2.JobSpec(
            steering_sweep=interp_jobs_pb2.SteeringSweepSpec(
                variant=network.message(),
                directions=_sweep_directions(directions),
                site=site_number(site),
                blocks=block_numbers(blocks),
                coefficients=coefficients,
                relative_coefficients=relative,
                positions=sets,
                scoring=scoring_number(scoring),
                null_count=null_count,
                refine_count=refine_count,
                sample_count=sample_count,
                sample_token_count=sample_token_count,
                seed=seed,
                control_tolerance=control_tolerance,
                **await self._data(data, "questions"),
            )
        )


def _sweep_directions(directions: Any) -> list[interp_jobs_pb2.SweepDirection]:
    if isinstance(directions, Mapping):
        return [_sweep_direction(each, label) for label, each in directions.items()]
    if isinstance(directions, list | tuple) and not _is_numbers(directions):
        return [_sweep_direction(each, "") for each in directions]
    return [_sweep_direction(directions, "")]


def _sweep_direction(direction: Any, label: str) -> interp_jobs_pb2.SweepDirection:
    if direction is None:
        return interp_jobs_pb2.SweepDirection(label=label)
    vectors = direction if isinstance(direction, list | tuple) else ()
    if vectors and all(isinstance(each, DirectionVector) for each in vectors):
        by_block = [each.message() for each in vectors]
        return interp_jobs_pb2.SweepDirection(label=label, vectors=by_block)
    return interp_jobs_pb2.SweepDirection(label=label, vector=vector_message(direction))


def _is_numbers(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(each, int | float) for each in values)
