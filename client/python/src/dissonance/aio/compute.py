"""What is asked of one network or several, in one batch. See Client and Network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Literal, Unpack

from ..activations import Activations, Assembler
from ..batches import batches
from ..errors import InvalidArgument, Unavailable
from ..generations import (
    Collector,
    GenerateOptions,
    Generations,
    Piece,
    SamplingOptions,
    generate_request,
    generation_message,
)
from ..inputs import Continuation, Prompts, inputs_of, items_of
from ..names import enum_number
from ..places import Blocks, Positions, block_numbers, positions_message, site_numbers
from ..readings import (
    Comparison,
    Lens,
    LensReading,
    Patched,
    Patches,
    Reading,
    compared_readings,
    lens_reading,
    patched,
)
from ..results import Provenance, Scores, provenance_of, score_of
from ..tensors import DType, dtype_number
from ..transport import Transport
from ..v1 import common_pb2, inference_pb2, interpretability_pb2
from ..variant import Variant, variant_messages, variants_of
from .text import Candidates, candidate_messages

Networks = Variant | Iterable[Variant]
"""One network or several of one model; they share batches."""

# Pauses before a broken stream of activations is taken up again, in seconds. They
# begin anew whenever something arrived.
RESUME_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)


class Compute:
    """Direct calls: nothing is recorded. Thread safe as its transport is."""

    _transport: Transport

    async def score(
        self,
        networks: Networks,
        prompts: Prompts,
        continuations: Sequence[Continuation] | None = None,
        *,
        dropout_samples: int = 0,
        seed: int = 0,
    ) -> Scores:
        """Log-probabilities of continuations that follow each prompt.

        `continuations` follow every prompt; without them each row has its own.
        Texts are encoded together with the prompt. `dropout_samples` keeps the
        adapter's dropout active (MC-dropout), with masks drawn from `seed`.
        """
        variants = variants_of(networks)
        items = items_of(prompts, continuations)
        request = inference_pb2.ScoreRequest(variants=variant_messages(variants))
        if dropout_samples:
            request.dropout.sample_count = dropout_samples
            request.dropout.seed = seed
        found: dict[tuple[int, int, int], Any] = {}
        provenance: tuple[Provenance, ...] = ()
        for begin, some in batches(items):
            del request.items[:]
            request.items.extend(some)
            response = await self._transport.call(
                "Inference/Score", request, inference_pb2.ScoreResponse, timeout=None
            )
            provenance = provenance_of(response.provenance)
            for each in response.scores:
                index = begin + each.item_index
                label = variants[each.variant_index].label
                key = (each.variant_index, index, each.sample_index)
                found[key] = score_of(each, label, items[index])
        return Scores((found[key] for key in sorted(found)), provenance)

    async def generate(
        self, networks: Networks, prompts: Prompts, **options: Unpack[GenerateOptions]
    ) -> Generations:
        """Continues prompts; all samples, once they are complete.

        Options, with their defaults: max_new_tokens=128, samples=1, temperature=0
        (greedy), top_k, top_p, min_p, repetition_penalty, seed=0, stop=[texts],
        stop_tokens=[ids], ignore_eos=False, top_logprobs=0, echo=False,
        meters={name: "DIRECTION@SITE.BLOCK" or Meter}.

        Sample i has seed + i, and that seed alone gives it again.
        """
        variants = variants_of(networks)
        inputs = inputs_of(prompts)
        collector = Collector(
            [each.label for each in variants],
            [each.id for each in inputs],
            list(options.get("meters", ())),
        )
        for begin, some in batches(inputs):
            request = generate_request(variant_messages(variants), some, options)
            collector.first_input = begin
            for event in await self._transport.collect(
                "Inference/Generate", request, inference_pb2.GenerateResponse
            ):
                collector.add(event)
        summary = collector.summary or inference_pb2.GenerateSummary()
        return Generations(collector.generations(), provenance_of(summary.provenance))

    async def stream(
        self, networks: Networks, prompts: Prompts, **options: Unpack[SamplingOptions]
    ) -> AsyncIterator[Piece]:
        """generate(), token by token as they are made.

        Pieces of different samples interleave. Leaving the loop ends the
        computation. A lost connection raises Unavailable.
        """
        variants = variants_of(networks)
        inputs = inputs_of(prompts)
        request = generate_request(variant_messages(variants), inputs, options)
        labels, ids = [each.label for each in variants], [each.id for each in inputs]
        collector = Collector(labels, ids, ())
        async with aclosing(
            self._transport.stream(
                "Inference/Generate", request, inference_pb2.GenerateResponse
            )
        ) as events:
            async for event in events:
                piece = collector.add(event)
                if piece is not None:
                    yield piece

    async def activations(
        self,
        networks: Networks,
        prompts: Prompts,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        mean: bool = False,
        dtype: DType | None = None,
        **generation: Unpack[SamplingOptions],
    ) -> list[Activations]:
        """Activations at any places, for each network.

        `blocks` are all unless given. `mean` puts the positions of a prompt together
        into one row. `dtype` is the type on the wire: float32, or bfloat16 for half
        the bytes. With max_new_tokens and other options of generate() the prompts are
        continued, so that generated positions can be captured. A lost connection is
        taken up again where it broke.
        """
        variants = variants_of(networks)
        inputs = inputs_of(prompts)
        reduction = common_pb2.REDUCTION_MEAN if mean else 0
        request = interpretability_pb2.StreamActivationsRequest(
            variants=variant_messages(variants),
            inputs=inputs,
            capture=common_pb2.CaptureSpec(
                sites=site_numbers(sites),
                blocks=block_numbers(blocks),
                positions=positions_message(positions),
                reduction=reduction,  # type: ignore[arg-type]
                dtype=dtype_number(dtype),
            ),
            generation=generation_message(generation) if generation else None,
        )
        assembler = Assembler([each.label for each in variants], inputs)
        await self._read_activations(request, assembler)
        return assembler.activations()

    async def lens(
        self,
        networks: Networks,
        prompts: Prompts,
        candidates: Candidates | None = None,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        top_k: int = 1,
    ) -> Lens:
        """The residual stream read through final norm and unembedding, by layer.

        `candidates` are watched answers by name, one token each: a text, usually with
        the space before it, or a token id. The margin is between the first two.
        """
        variants = variants_of(networks)
        request = interpretability_pb2.LogitLensRequest(
            variants=variant_messages(variants),
            sites=site_numbers(sites),
            blocks=block_numbers(blocks),
            positions=positions_message(positions),
            candidates=await self._candidates(variants[0].model, candidates),
            top_k=top_k,
        )
        inputs = inputs_of(prompts)
        ids = [each.id for each in inputs]
        labels = [each.label for each in variants]
        found: list[tuple[tuple[int, int], LensReading]] = []
        provenance: tuple[Provenance, ...] = ()
        async for begin, event in self._readings(
            "Interpretability/LogitLens",
            request,
            inputs,
            interpretability_pb2.LogitLensResponse,
        ):
            if event.HasField("summary"):
                provenance = provenance_of(event.summary.provenance)
                continue
            position = event.position
            reading = lens_reading(position, labels, ids[begin:])
            order = (position.variant_index, begin + position.row.input_index)
            found.append((order, reading))
        found.sort(key=lambda pair: pair[0])
        return Lens((reading for _, reading in found), provenance)

    async def compare(
        self,
        networks: Networks,
        prompts: Prompts,
        *,
        positions: Positions = "prompt",
        top_k: int = 1,
    ) -> Comparison:
        """How far networks are from the first: log-probabilities, KL, residuals."""
        variants = variants_of(networks)
        request = interpretability_pb2.CompareVariantsRequest(
            variants=variant_messages(variants),
            positions=positions_message(positions),
            top_k=top_k,
        )
        inputs = inputs_of(prompts)
        ids = [each.id for each in inputs]
        labels = [each.label for each in variants]
        found: list[Reading] = []
        provenance: tuple[Provenance, ...] = ()
        async for begin, event in self._readings(
            "Interpretability/CompareVariants",
            request,
            inputs,
            interpretability_pb2.CompareVariantsResponse,
        ):
            if event.HasField("summary"):
                provenance = provenance_of(event.summary.provenance)
            else:
                found += compared_readings(event.position, labels, ids[begin:])
        return Comparison(found, provenance)

    async def patch(
        self,
        source: Variant,
        target: Variant,
        prompts: Prompts,
        candidates: Candidates,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        each_head: bool = False,
        method: Literal["exact", "attribution"] = "exact",
        source_prompts: Prompts | None = None,
    ) -> Patches:
        """Rows of `source`'s pass put into `target`'s, one place at a time.

        Two candidates, A and B: what is read is logit A less logit B after the last
        token. `source_prompts`: what the source reads, with as many tokens each.
        """
        request = interpretability_pb2.PatchRequest(
            source=source.message(),
            target=target.message(),
            sites=site_numbers(sites),
            blocks=block_numbers(blocks),
            positions=positions_message(positions),
            candidates=await self._candidates(target.model, candidates),
            each_head=each_head,
            method=enum_number(interpretability_pb2.PatchMethod, method, "method"),
        )
        inputs = inputs_of(prompts)
        sources = [] if source_prompts is None else inputs_of(source_prompts)
        if sources and len(sources) != len(inputs):
            raise InvalidArgument(
                f"source_prompts: {len(sources)}, for {len(inputs)} prompts"
            )
        found: list[Patched] = []
        provenance: tuple[Provenance, ...] = ()
        for begin, some in batches(inputs):
            del request.inputs[:], request.source_inputs[:]
            request.inputs.extend(some)
            request.source_inputs.extend(sources[begin : begin + len(some)])
            response = await self._transport.call(
                "Interpretability/Patch",
                request,
                interpretability_pb2.PatchResponse,
                timeout=None,
            )
            provenance = provenance_of(response.provenance)
            found += [patched(each, [i.id for i in some]) for each in response.results]
        return Patches(found, provenance)

    async def _candidates(
        self, model: str, candidates: Candidates | None
    ) -> list[interpretability_pb2.Candidate]:
        return await candidate_messages(self._transport, model, candidates or {})

    async def _readings(
        self,
        method: str,
        request: Any,
        inputs: Sequence[common_pb2.Input],
        response: type[Any],
    ) -> AsyncIterator[tuple[int, Any]]:
        """The events of all batches, with the index of the batch's first input."""
        for begin, some in batches(inputs):
            del request.inputs[:]
            request.inputs.extend(some)
            for event in await self._transport.collect(method, request, response):
                yield begin, event

    async def _read_activations(
        self,
        request: interpretability_pb2.StreamActivationsRequest,
        assembler: Assembler,
    ) -> None:
        """All of a stream, taken up again behind the last cursor where it breaks."""
        pauses = iter(RESUME_PAUSES)
        while assembler.summary is None:
            before = assembler.cursor
            try:
                async with aclosing(
                    self._transport.stream(
                        "Interpretability/StreamActivations",
                        request,
                        interpretability_pb2.StreamActivationsResponse,
                    )
                ) as messages:
                    async for message in messages:
                        assembler.add(message)
                if assembler.summary is None:
                    raise Unavailable("the server ended the stream before its summary")
            except Unavailable:
                if assembler.cursor != before:
                    pauses = iter(RESUME_PAUSES)
                pause = next(pauses, None)
                if pause is None:
                    raise
                assembler.drop()
                request.cursor = assembler.cursor
                await self._transport.sleep(pause)
