"""What the logit lens, comparisons and patches read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .frames import frame_of
from .generations import Top
from .places import Place, place_of
from .results import Results
from .v1 import inference_pb2, interpretability_pb2

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Candidate:
    """What the lens reads of a watched token."""

    token_id: int
    logit: float
    logprob: float
    """Nats."""
    prob: float
    rank: int
    """0: the most likely token."""


@dataclass(frozen=True)
class LensLayer:
    """One layer's reading; site final_norm is the model's own output."""

    place: Place
    candidates: dict[str, Candidate]
    margin: float | None
    """Logit of the first candidate less that of the second."""
    top: Top


@dataclass(frozen=True)
class LensReading:
    """One position of one prompt under one network, layer by layer."""

    network: str
    id: str
    position: int
    token_id: int
    layers: tuple[LensLayer, ...]
    breaking_block: int | None
    """First block from which on the margin keeps its final sign."""


class Lens(Results[LensReading]):
    """Readings by network, prompt and position; frame(): a row for each layer."""

    def _rows(self, item: LensReading) -> Iterator[dict[str, Any]]:
        for layer in item.layers:
            row = {
                "network": item.network,
                "id": item.id,
                "position": item.position,
                "site": layer.place.site,
                "block": layer.place.block,
                "layer": str(layer.place),
                "margin": layer.margin,
            }
            for name, each in layer.candidates.items():
                row |= {f"{name}_logprob": each.logprob, f"{name}_prob": each.prob}
                row |= {f"{name}_rank": each.rank, f"{name}_logit": each.logit}
            if layer.top:
                row["top_token_id"] = layer.top[0][0]
            yield row


@dataclass(frozen=True)
class Residual:
    """How far a block's residual stream (resid_post) is from the first network's."""

    block: int
    distance: float
    """Euclidean."""
    relative_distance: float | None
    """Divided by the first network's own length."""
    cosine: float | None
    lens_kl: float
    """KL of what the lens reads there from what it reads of the first, nats."""


@dataclass(frozen=True)
class Reading:
    """One network at one position of a comparison."""

    network: str
    id: str
    position: int
    token_id: int
    next_token_logprob: float | None
    """Of the prompt's next token, nats; None at the last position."""
    kl: float
    """KL(this || first network) of the next-token distributions, nats."""
    reverse_kl: float
    top: Top
    residual: tuple[Residual, ...]


class Comparison(Results[Reading]):
    """Readings by prompt, position and network; frame(): a row for each."""

    def _rows(self, item: Reading) -> Iterator[dict[str, Any]]:
        yield {
            "network": item.network,
            "id": item.id,
            "position": item.position,
            "token_id": item.token_id,
            "next_token_logprob": item.next_token_logprob,
            "kl": item.kl,
            "reverse_kl": item.reverse_kl,
        }

    def residual_frame(self) -> pd.DataFrame:
        """A row for each block: distance, cosine and KL of the lens."""
        return frame_of(
            {"network": item.network, "id": item.id, "position": item.position}
            | vars(each)
            for item in self
            for each in item.residual
        )


@dataclass(frozen=True)
class Patched:
    """One row of the source put into the target's pass; logit of A less that of B."""

    id: str
    place: Place
    head: int | None
    position: int
    delta_before: float
    delta_after: float
    delta_source: float
    pair_prob_before: float
    """P(A) / (P(A) + P(B)) of the target as it is."""
    pair_prob_after: float
    flip: bool
    """Whether the delta's sign changed."""

    @property
    def effect(self) -> float | None:
        """Share of the way from the target's delta to the source's."""
        whole = self.delta_source - self.delta_before
        return (self.delta_after - self.delta_before) / whole if whole else None


class Patches(Results[Patched]):
    """Patches by prompt, site, block and position; frame(): a row for each."""

    def _rows(self, item: Patched) -> Iterator[dict[str, Any]]:
        yield {
            "id": item.id,
            "site": item.place.site,
            "block": item.place.block,
            "head": item.head,
            "position": item.position,
            "delta_before": item.delta_before,
            "delta_after": item.delta_after,
            "delta_source": item.delta_source,
            "effect": item.effect,
            "pair_prob_before": item.pair_prob_before,
            "pair_prob_after": item.pair_prob_after,
            "flip": item.flip,
        }

    def map(self, site: str, value: str = "effect") -> pd.DataFrame:
        """The mean over prompts of one site: positions down, blocks across."""
        frame = self.frame()
        here = frame[frame["site"] == site]
        return here.pivot_table(value, "position", "block")


def top_of(tokens: Sequence[inference_pb2.TokenLogprob]) -> Top:
    """The most likely tokens from the API's messages."""
    return tuple((each.token_id, each.logprob) for each in tokens)


def lens_reading(
    message: interpretability_pb2.LensPosition,
    labels: Sequence[str],
    ids: Sequence[str],
) -> LensReading:
    """A reading from the API's message."""
    return LensReading(
        network=labels[message.variant_index],
        id=ids[message.row.input_index],
        position=message.row.position,
        token_id=message.row.token_id,
        layers=tuple(_layer(each) for each in message.layers),
        breaking_block=message.breaking_block
        if message.HasField("breaking_block")
        else None,
    )


def _layer(message: interpretability_pb2.LensLayer) -> LensLayer:
    candidates = {
        each.name: Candidate(
            each.token_id, each.logit, each.logprob, each.prob, each.rank
        )
        for each in message.candidates
    }
    margin = message.margin if message.HasField("margin") else None
    return LensLayer(place_of(message.place), candidates, margin, top_of(message.top))


def compared_readings(
    message: interpretability_pb2.ComparedPosition,
    labels: Sequence[str],
    ids: Sequence[str],
) -> Iterator[Reading]:
    """The readings of one position from the API's message."""
    for each in message.readings:
        next_token = (
            each.next_token_logprob if each.HasField("next_token_logprob") else None
        )
        yield Reading(
            network=labels[each.variant_index],
            id=ids[message.row.input_index],
            position=message.row.position,
            token_id=message.row.token_id,
            next_token_logprob=next_token,
            kl=each.kl,
            reverse_kl=each.reverse_kl,
            top=top_of(each.top),
            residual=tuple(_residual(block) for block in each.residual),
        )


def _residual(message: interpretability_pb2.ResidualDifference) -> Residual:
    relative = message.relative_distance
    return Residual(
        block=message.block,
        distance=message.distance,
        relative_distance=relative if message.HasField("relative_distance") else None,
        cosine=message.cosine if message.HasField("cosine") else None,
        lens_kl=message.lens_kl,
    )


def patched(message: interpretability_pb2.PatchResult, ids: Sequence[str]) -> Patched:
    """A patch from the API's message."""
    return Patched(
        id=ids[message.input_index],
        place=place_of(message.place),
        head=message.head if message.HasField("head") else None,
        position=message.position,
        delta_before=message.delta_before,
        delta_after=message.delta_after,
        delta_source=message.delta_source,
        pair_prob_before=message.pair_prob_before,
        pair_prob_after=message.pair_prob_after,
        flip=message.flip,
    )
