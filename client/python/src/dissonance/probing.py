"""Linear probes and directions, as they are fitted to activations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .errors import InvalidArgument
from .names import enum_word, short
from .places import Place, place_message, place_of
from .results import Results
from .tensors import Array, to_numpy, to_tensor
from .v1 import probes_pb2 as pb

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Figure:
    """A figure over the folds of a cross-validation."""

    mean: float
    deviation: float
    """n in the denominator."""
    low: float | None
    """Of a bootstrap's 95 % interval of the mean."""
    high: float | None
    folds: tuple[float, ...]

    @classmethod
    def of(cls, message: pb.FoldFigure) -> Self:
        """From the API's message."""
        return cls(
            mean=message.mean,
            deviation=message.deviation,
            low=message.low if message.HasField("low") else None,
            high=message.high if message.HasField("high") else None,
            folds=tuple(message.folds),
        )


@dataclass(frozen=True)
class DirectionVector:
    """A direction at one place."""

    place: Place
    vector: Array
    """[width] or [heads, head_dim], float32, length 1."""
    norm: float = 0.0
    """Length before it was made 1; of a probe, what its decision gains per unit."""
    residual_norm: float = 0.0
    """Mean length of the rows that it was found in: the scale of coefficients."""
    bias: float = 0.0
    """The decision of a probe at activations 0."""

    @classmethod
    def of(cls, message: pb.DirectionVector) -> Self:
        """From the API's message."""
        return cls(
            place=place_of(message.place),
            vector=to_numpy(message.vector),
            norm=message.norm,
            residual_norm=message.residual_norm,
            bias=message.bias,
        )

    def message(self) -> pb.DirectionVector:
        """The API's message."""
        return pb.DirectionVector(
            place=place_message(self.place),
            vector=to_tensor(self.vector),
            norm=self.norm,
            residual_norm=self.residual_norm,
            bias=self.bias,
        )


# What stands for vectors at their places: see Directions.make().
GivenVectors = (
    DirectionVector | Iterable[DirectionVector] | Mapping[str, Any] | Array | Any
)


def direction_vectors(
    vectors: GivenVectors, place: Place | tuple[str, int | None] | str | None = None
) -> list[DirectionVector]:
    """Vectors at their places. Raises TypeError where that is not said."""
    if isinstance(vectors, DirectionVector):
        return [vectors]
    if isinstance(vectors, Mapping):
        return [
            DirectionVector(place_of(place_message(name)), np.asarray(vector))
            for name, vector in vectors.items()
        ]
    if not hasattr(vectors, "__array__"):
        vectors = list(vectors) if isinstance(vectors, Iterable) else [vectors]
        if all(isinstance(each, DirectionVector) for each in vectors):
            return list(vectors)
        if not all(isinstance(each, (int, float, np.number)) for each in vectors):
            raise TypeError(
                "vectors are DirectionVectors (of fit(), or vectors() of a job), "
                "arrays by the name of their place, or one array and its place=; "
                f"found a {type(vectors[0]).__name__}"
            )
    if place is None:
        raise TypeError(
            "numbers alone are at no place; add "
            'place=("resid_post", 2), or give {"blocks.2.resid_post": numbers}'
        )
    return [DirectionVector(place_of(place_message(place)), np.asarray(vectors))]


@dataclass(frozen=True)
class Direction:
    """A direction that the server keeps: a vector at one place, or at several."""

    name: str
    """"directions/NAME"."""
    model: str
    method: str
    vectors: tuple[DirectionVector, ...] = field(repr=False)
    """Empty in lists."""
    places: tuple[Place, ...]
    width: int
    """Numbers of each vector."""
    source_json: str = field(repr=False)
    owner: str = field(repr=False)
    create_time: datetime = field(repr=False)
    shared: bool
    artifact: str = field(repr=False)

    @classmethod
    def of(cls, message: pb.Direction) -> Self:
        """From the API's message."""
        return cls(
            name=message.name,
            model=message.model,
            method=enum_word(pb.DirectionMethod, message.method),
            vectors=tuple(DirectionVector.of(each) for each in message.vectors),
            places=tuple(place_of(each) for each in message.places),
            width=message.width,
            source_json=message.source_json,
            owner=message.owner,
            create_time=message.create_time.ToDatetime(UTC),
            shared=message.shared,
            artifact=message.artifact,
        )

    def at(self, site: str, block: int | None = None) -> DirectionVector:
        """Its vector at a place. Raises InvalidArgument where it has none."""
        for each in self.vectors:
            if each.place == Place(site, block):
                return each
        known = ", ".join(str(each) for each in self.places)
        raise InvalidArgument(
            f"{self.name} has no vector at {Place(site, block)}, only at {known}"
        )


@dataclass(frozen=True)
class Cosines:
    """Cosines between vectors of kept directions; NaN between different widths."""

    vectors: tuple[tuple[str, Place], ...]
    """Direction and place of each row and column."""
    matrix: Array
    """[vectors, vectors]."""

    def frame(self) -> pd.DataFrame:
        """The matrix, with names for rows and columns."""
        import pandas

        names = [f"{short(name)}@{place}" for name, place in self.vectors]
        return pandas.DataFrame(self.matrix, index=names, columns=names)


@dataclass(frozen=True)
class Probe:
    """A probe of one target, network, place and C, and how good it is.

    Its decision is `direction_norm * (x . direction) + bias`, class 1 above 0.
    """

    target: str
    network: str
    place: Place
    c: float
    auc: Figure | None
    """Area under the ROC curve, ties count half; None for ridge."""
    accuracy: Figure
    """Of ridge the coefficient of determination."""
    split_auc: float | None
    split_accuracy: float | None
    dummy_auc_mean: float | None
    """Of the same fits to shuffled labels; None without controls."""
    dummy_auc_deviation: float | None
    p_value: float | None
    verdict: str
    """signal, leak, none; empty without controls."""
    class_counts: tuple[int, ...]
    transfers: dict[str, Figure]
    """By network: AUC of this probe on that network's rows."""
    converged: bool
    residual_norm: float
    """Mean length of the rows."""
    direction: Array | None = field(repr=False)
    """[width], length 1, of two classes and ridge."""
    direction_norm: float
    bias: float
    decisions: Array = field(repr=False)
    """[prompts]: of the fold that did not train on it; NaN where left out."""
    note: str

    def vector(self) -> DirectionVector:
        """Its weights as a direction, to steer along or to keep."""
        if self.direction is None:
            raise InvalidArgument(f"the probe of {self.target} has no one direction")
        return DirectionVector(
            place=self.place,
            vector=self.direction,
            norm=self.direction_norm,
            residual_norm=self.residual_norm,
            bias=self.bias,
        )


def probe_of(
    message: pb.ProbeResult, targets: Sequence[str], networks: Sequence[str]
) -> Probe:
    """A probe from the API's message."""
    has_vector = bool(message.direction.data)
    return Probe(
        target=targets[message.target_index],
        network=networks[message.variant_index],
        place=place_of(message.place),
        c=message.c,
        auc=Figure.of(message.auc) if message.HasField("auc") else None,
        accuracy=Figure.of(message.accuracy),
        split_auc=_optional(message, "split_auc"),
        split_accuracy=_optional(message, "split_accuracy"),
        dummy_auc_mean=_optional(message, "dummy_auc_mean"),
        dummy_auc_deviation=_optional(message, "dummy_auc_deviation"),
        p_value=_optional(message, "p_value"),
        verdict=enum_word(pb.ProbeVerdict, message.verdict),
        class_counts=tuple(message.class_counts),
        transfers={
            networks[each.variant_index]: Figure.of(each.auc)
            for each in message.transfers
        },
        converged=message.converged,
        residual_norm=message.residual_norm,
        direction=to_numpy(message.direction) if has_vector else None,
        direction_norm=message.direction_norm,
        bias=message.direction_bias,
        decisions=np.array(message.decisions, dtype=np.float64),
        note=message.note,
    )


def _optional(message: pb.ProbeResult, name: str) -> float | None:
    return float(getattr(message, name)) if message.HasField(name) else None


class FittedProbes(Results[Probe]):
    """Probes by place, target, network and C; frame(): a row for each.

    `components` are maps of principal components by place, where asked for.
    """

    components: Mapping[Place, Components] = {}

    def _rows(self, item: Probe) -> Iterator[dict[str, Any]]:
        auc = item.auc
        yield {
            "target": item.target,
            "network": item.network,
            "site": item.place.site,
            "block": item.place.block,
            "c": item.c,
            "auc": auc.mean if auc else None,
            "auc_low": auc.low if auc else None,
            "auc_high": auc.high if auc else None,
            "accuracy": item.accuracy.mean,
            "dummy_auc": item.dummy_auc_mean,
            "p_value": item.p_value,
            "verdict": item.verdict,
            "n": sum(item.class_counts),
        }


@dataclass(frozen=True)
class Components:
    """Rows of all networks on their first principal components."""

    variances: Array
    """[components], n - 1 in the denominator."""
    variance_shares: Array
    projections: Array
    """[networks, prompts, components]."""
    components: Array
    """[components, width], length 1, largest loading positive."""
    mean: Array
    """[width]."""

    @classmethod
    def of(cls, message: pb.PrincipalComponents, network_count: int) -> Self:
        """From the API's message."""
        rows = to_numpy(message.projections)
        return cls(
            variances=np.array(message.variances),
            variance_shares=np.array(message.variance_shares),
            projections=rows.reshape(network_count, -1, rows.shape[-1]),
            components=to_numpy(message.components),
            mean=to_numpy(message.mean),
        )


@dataclass(frozen=True)
class Projection:
    """How far one row goes along each direction: x . u, u at length 1."""

    network: str
    id: str
    position: int
    token_id: int
    projections: dict[str, float]


class Projections(Results[Projection]):
    """By network, prompt and position; frame(): a row for each."""

    def _rows(self, item: Projection) -> Iterator[dict[str, Any]]:
        yield {
            "network": item.network,
            "id": item.id,
            "position": item.position,
            "token_id": item.token_id,
        } | item.projections


def label_messages(labels: Any) -> list[pb.ProbeLabels]:
    """Labels of a target on the wire: one list for all networks, or a list each.

    Integers and booleans are classes (-1 leaves a prompt out), floats are values for
    ridge regression (NaN leaves a prompt out).
    """
    lists = list(labels)
    if not lists or np.ndim(lists[0]) == 0:
        lists = [lists]
    return [_labels(np.asarray(each)) for each in lists]


def _labels(values: Array) -> pb.ProbeLabels:
    if values.dtype.kind in "iub":
        return pb.ProbeLabels(classes=[int(each) for each in values])
    if values.dtype.kind == "f":
        return pb.ProbeLabels(values=[float(each) for each in values])
    raise InvalidArgument(
        f"labels: classes are integers, values floats; found {values.dtype}"
    )
