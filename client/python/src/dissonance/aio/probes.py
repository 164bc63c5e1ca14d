"""Linear probes, fitted on the server to activations that stay there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..generations import Meters, meter_messages
from ..inputs import Prompts, inputs_of
from ..names import enum_word, job_name
from ..options import Probing, option_message
from ..places import (
    Blocks,
    Positions,
    block_numbers,
    place_of,
    positions_message,
    site_numbers,
)
from ..probing import (
    Components,
    FittedProbes,
    Projection,
    Projections,
    label_messages,
    probe_of,
)
from ..results import provenance_of
from ..transport import Transport
from ..v1 import interp_jobs_pb2, jobs_pb2
from ..v1 import probes_pb2 as pb
from ..variant import Variant, variant_messages, variants_of
from .pages import all_pages


class Probes:
    """Trains probes and measures along directions."""

    def __init__(self, transport: Transport) -> None:
        """Part of a Client."""
        self._transport = transport

    async def train(
        self,
        networks: Variant | Iterable[Variant],
        prompts: Prompts,
        targets: Mapping[str, Any],
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        options: Probing | None = None,
        components: int = 0,
    ) -> FittedProbes:
        """A probe for every target, network and place, with its controls.

        `targets` are labels by name, [prompts]: integers are classes (-1 leaves a
        prompt out), floats values for ridge regression; or such a list for each
        network. Several positions are averaged. `components`, 2 to 5, also gives
        maps of principal components of all networks' rows together.
        """
        variants = variants_of(networks)
        request = pb.TrainProbesRequest(
            variants=variant_messages(variants),
            inputs=inputs_of(prompts),
            sites=site_numbers(sites),
            blocks=block_numbers(blocks),
            positions=positions_message(positions),
            targets=[
                pb.ProbeTarget(name=name, labels=label_messages(labels))
                for name, labels in targets.items()
            ],
            options=option_message(options),
            component_count=components,
        )
        events = await self._transport.collect(
            "Probes/TrainProbes", request, pb.TrainProbesResponse
        )
        labels = [each.label for each in variants]
        results = [each.result for each in events if each.HasField("result")]
        found = FittedProbes(
            (probe_of(each, list(targets), labels) for each in results),
            provenance_of(events[-1].summary.provenance),
        )
        found.components = {
            place_of(each.components.place): Components.of(
                each.components, len(variants)
            )
            for each in events
            if each.HasField("components")
        }
        return found

    async def apply(
        self,
        networks: Variant | Iterable[Variant],
        prompts: Prompts,
        meters: Meters,
        *,
        positions: Positions = "last_prompt",
    ) -> Projections:
        """How far prompts go along directions: x . u, with u at length 1.

        `meters` by name: "DIRECTION@SITE.BLOCK", or Meter(vector, place).
        """
        variants = variants_of(networks)
        inputs = inputs_of(prompts)
        request = pb.ApplyProbeRequest(
            variants=variant_messages(variants),
            inputs=inputs,
            meters=meter_messages(meters),
            positions=positions_message(positions),
        )
        response = await self._transport.call(
            "Probes/ApplyProbe", request, pb.ApplyProbeResponse, timeout=None
        )
        readings = (
            Projection(
                network=variants[each.variant_index].label,
                id=inputs[each.row.input_index].id,
                position=each.row.position,
                token_id=each.row.token_id,
                projections=dict(zip(meters, each.projections, strict=True)),
            )
            for each in response.readings
        )
        return Projections(readings, provenance_of(response.provenance))

    async def list(self, job: str) -> FittedProbes:
        """What a train_probes job has fitted so far, without the weights."""
        name = job_name(job)
        found = await all_pages(
            self._transport,
            "Probes/ListProbes",
            pb.ListProbesRequest(job=name),
            pb.ListProbesResponse,
            "probes",
        )
        spec = (await self._spec(name)).train_probes
        targets = [each.field or _source(each) for each in spec.targets]
        variants = spec.variants
        if spec.activations_job:
            extracted = await self._spec(spec.activations_job)
            variants = extracted.extract_activations.variants
        networks = [Variant.of(each).label for each in variants]
        return FittedProbes(probe_of(each, targets, networks) for each in found)

    async def _spec(self, job: str) -> jobs_pb2.JobSpec:
        response = await self._transport.call(
            "Jobs/GetJob", jobs_pb2.GetJobRequest(name=job), jobs_pb2.GetJobResponse
        )
        return response.job.spec


def _source(label: interp_jobs_pb2.LabelRule) -> str:
    return enum_word(interp_jobs_pb2.LabelSource, label.source)
