"""Generated text: pieces as they come, and whole samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from .names import enum_word
from .places import Place, place_message
from .results import Results
from .tensors import Array
from .v1 import common_pb2, inference_pb2
from .variant import vector_message

Top = tuple[tuple[int, float], ...]
"""Token ids and log-probabilities, best first."""


@dataclass(frozen=True)
class Meter:
    """A direction to measure generated tokens along.

    `direction` is as in Variant.steer; `place` is SITE.BLOCK or (site, block). For a
    kept direction with one vector it may be left out.
    """

    direction: Any
    place: Place | tuple[str, int | None] | str | None = None

    def message(self, name: str) -> common_pb2.Meter:
        """The API's message."""
        where = None if self.place is None else place_message(self.place)
        return common_pb2.Meter(
            name=name, vector=vector_message(self.direction), place=where
        )


Meters = Mapping[str, Meter | str]
"""By name; a text is the name of a kept direction, or DIRECTION@SITE.BLOCK."""


def meter_messages(meters: Meters | None) -> list[common_pb2.Meter]:
    """The API's messages."""
    return [_meter(each).message(name) for name, each in (meters or {}).items()]


def _meter(meter: Meter | str) -> Meter:
    if not isinstance(meter, str):
        return meter
    direction, _, place = meter.partition("@")
    return Meter(direction, place or None)


class SamplingOptions(TypedDict, total=False):
    """How tokens are drawn and when a sample ends. Greedy unless told otherwise.

    Filters apply in this order: repetition penalty, temperature, top-k, top-p, min-p.
    """

    max_new_tokens: int
    """128 unless given."""
    samples: int
    """Of each prompt; sample i has seed + i, and that seed alone gives it again."""
    temperature: float
    """0: greedy."""
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int
    stop: Sequence[str]
    """Texts that end a sample; they are left out of it."""
    stop_tokens: Sequence[int]
    ignore_eos: bool
    """Go on after the model's own end."""


class GenerateOptions(SamplingOptions, total=False):
    """What is told of each token besides."""

    top_logprobs: int
    """So many of the most likely tokens at each place."""
    echo: bool
    """The prompt's tokens too, with their log-probabilities."""
    meters: Meters
    """Directions that each token is measured along, by name. Changes no token."""


def generate_request(
    variants: Sequence[common_pb2.Variant],
    inputs: Sequence[common_pb2.Input],
    options: Mapping[str, Any],
) -> inference_pb2.GenerateRequest:
    """The API's message. Raises TypeError for an option that there is not."""
    return inference_pb2.GenerateRequest(
        variants=variants,
        inputs=inputs,
        options=generation_message(options),
        sample_count=options.get("samples", 1),
        top_logprob_count=options.get("top_logprobs", 0),
        echo=options.get("echo", False),
        meters=meter_messages(options.get("meters")),
    )


def check_options(options: Mapping[str, Any], kind: Any) -> None:
    """Raises TypeError for an option that `kind`, a TypedDict, has not."""
    known = kind.__optional_keys__
    for name in options:
        if name not in known:
            raise TypeError(
                f"there is no option {name}; options: {', '.join(sorted(known))}"
            )


def generation_message(
    options: Mapping[str, Any],
) -> inference_pb2.GenerationOptions:
    """The part of it that draws tokens. Raises TypeError as above."""
    check_options(options, GenerateOptions)
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
    sampling = {name: options[name] for name in names if name in options}
    return inference_pb2.GenerationOptions(
        sampling=inference_pb2.Sampling(**sampling),
        max_new_token_count=options.get("max_new_tokens", 128),
        stop_strings=options.get("stop", ()),
        stop_token_ids=options.get("stop_tokens", ()),
        ignore_eos=options.get("ignore_eos", False),
    )


@dataclass(frozen=True)
class Piece:
    """Tokens that were just generated, with the text that they append."""

    network: str
    id: str
    sample: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """log P(token | everything before), nats, before temperature and filters."""
    finish_reason: str | None = None
    """Of a sample's last piece: length, stop_token or stop_string."""


@dataclass(frozen=True)
class Generation:
    """One sample."""

    network: str
    id: str
    sample: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: Array
    """[tokens], nats, in the model's own distribution."""
    finish_reason: str
    seed: int
    """A request with this seed gives this sample again as its sample 0."""
    prompt_token_count: int
    projections: dict[str, Array]
    """By meter: [tokens], x . u of the row where each token is fed back."""
    top: tuple[Top, ...] = ()
    """With top_logprobs: the most likely tokens at each place."""
    prompt: Prompt | None = None
    """With echo."""


@dataclass(frozen=True)
class Prompt:
    """A prompt's own tokens, as echo gives them."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: Array
    """[tokens], nats; NaN for the first."""
    projections: dict[str, Array]
    """By meter: [tokens]."""


class Generations(Results[Generation]):
    """Samples by network and prompt; frame(): a row for each sample."""

    def _rows(self, item: Generation) -> Iterator[dict[str, Any]]:
        row = {
            "network": item.network,
            "id": item.id,
            "sample": item.sample,
            "text": item.text,
            "token_count": len(item.token_ids),
            "logprob": float(np.sum(item.logprobs)),
            "finish_reason": item.finish_reason,
            "seed": item.seed,
        }
        for name, values in item.projections.items():
            row[f"{name}_mean"] = float(np.nanmean(values)) if len(values) else None
        yield row


@dataclass
class _Sample:
    text: str = ""
    tokens: list[inference_pb2.GeneratedToken] = field(default_factory=list)
    readings: dict[int, Sequence[float]] = field(default_factory=dict)
    end: inference_pb2.GenerateEnd | None = None


class Collector:
    """Puts the events of a stream together. Not thread safe."""

    def __init__(
        self, labels: Sequence[str], ids: Sequence[str], meters: Sequence[str]
    ) -> None:
        """For a request's networks, prompts and meters."""
        self._labels = labels
        self._ids = ids
        self._meters = meters
        self._samples: dict[tuple[int, int, int], _Sample] = {}
        self._prompts: dict[tuple[int, int], inference_pb2.GeneratePrompt] = {}
        self.first_input = 0
        """Of the request whose events come, where prompts go in several."""
        self.summary: inference_pb2.GenerateSummary | None = None

    def add(self, event: inference_pb2.GenerateResponse) -> Piece | None:
        """Takes an event; the piece that it brought, if it did."""
        kind = event.WhichOneof("event")
        if kind == "summary":
            self.summary = event.summary
            return None
        prompt = self.first_input + event.input_index
        if kind == "prompt":
            self._prompts[event.variant_index, prompt] = event.prompt
            return None
        key = (event.variant_index, prompt, event.sample_index)
        sample = self._samples.setdefault(key, _Sample())
        news = event.end if kind == "end" else event.delta
        sample.text += news.text
        for reading in news.meters:
            sample.readings[reading.token_index] = list(reading.projections)
        tokens = [] if kind == "end" else list(event.delta.tokens)
        sample.tokens += tokens
        sample.end = event.end if kind == "end" else None
        return Piece(
            network=self._labels[key[0]],
            id=self._ids[key[1]],
            sample=key[2],
            text=news.text,
            token_ids=tuple(each.token_id for each in tokens),
            logprobs=tuple(each.logprob for each in tokens),
            finish_reason=_reason(event.end) if kind == "end" else None,
        )

    def generations(self) -> list[Generation]:
        """All samples, by network, prompt and number."""
        return [self._generation(key) for key in sorted(self._samples)]

    def _generation(self, key: tuple[int, int, int]) -> Generation:
        sample = self._samples[key]
        end = sample.end or inference_pb2.GenerateEnd()
        prompt = self._prompts.get(key[:2]) or inference_pb2.GeneratePrompt()
        has_top = any(each.top for each in sample.tokens)
        return Generation(
            network=self._labels[key[0]],
            id=self._ids[key[1]],
            sample=key[2],
            text=sample.text,
            token_ids=tuple(each.token_id for each in sample.tokens),
            logprobs=_logprobs(sample.tokens),
            finish_reason=_reason(end),
            seed=end.seed,
            prompt_token_count=prompt.token_count,
            projections=self._projections(sample.readings, len(sample.tokens)),
            top=tuple(_top(each) for each in sample.tokens) if has_top else (),
            prompt=self._prompt(prompt) if prompt.tokens else None,
        )

    def _prompt(self, message: inference_pb2.GeneratePrompt) -> Prompt:
        readings = {each.token_index: each.projections for each in message.meters}
        return Prompt(
            text=message.text,
            token_ids=tuple(each.token_id for each in message.tokens),
            logprobs=_logprobs(message.tokens),
            projections=self._projections(readings, len(message.tokens)),
        )

    def _projections(
        self, readings: Mapping[int, Sequence[float]], count: int
    ) -> dict[str, Array]:
        by_meter = {name: np.full(count, np.nan) for name in self._meters}
        for token, values in readings.items():
            for name, value in zip(self._meters, values, strict=True):
                if token < count:
                    by_meter[name][token] = value
        return by_meter


def _logprobs(tokens: Sequence[inference_pb2.GeneratedToken]) -> Array:
    return np.array(
        [each.logprob if each.HasField("logprob") else np.nan for each in tokens],
        dtype=np.float64,
    )


def _top(token: inference_pb2.GeneratedToken) -> Top:
    return tuple((each.token_id, each.logprob) for each in token.top)


def _reason(end: inference_pb2.GenerateEnd) -> str:
    return enum_word(inference_pb2.FinishReason, end.finish_reason)
