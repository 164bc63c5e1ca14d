"""Which network computes: a base model, an adapter, either with interventions.

A Variant never changes; each method returns another one:

    cubic = Variant("tiny-world", adapter="cubic")
    steered = cubic.steer("truth", site="resid_post", block=2, coefficient=80)
    ablated = cubic.zero(site="z", block=2, head=2)
    both = steered.scale(0.5, site="mlp_out", block=range(3, 6))

Interventions take effect in the order in which they were added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from .errors import InvalidArgument
from .names import adapter_name, direction_name, enum_word, model_name, short
from .places import (
    Blocks,
    Positions,
    block_numbers,
    positions_message,
    site_number,
)
from .tensors import to_tensor
from .v1 import common_pb2 as pb


@dataclass(frozen=True)
class Intervention:
    """A change to the forward pass at a site, its blocks and positions."""

    wire: bytes
    """The message, serialized: immutable, and comparable."""

    @classmethod
    def of(cls, message: pb.Intervention) -> Self:
        """From the API's message."""
        return cls(message.SerializeToString(deterministic=True))

    def message(self) -> pb.Intervention:
        """The API's message."""
        return pb.Intervention.FromString(self.wire)

    def __str__(self) -> str:
        """For people: "steer truth@resid_post.2=80"."""
        return _text(self.message())

    def __repr__(self) -> str:
        """The same, marked as what it is."""
        return f"<{self}>"


@dataclass(frozen=True)
class Variant:
    """A network. `model` and `adapter` may be short names."""

    model: str
    adapter: str | None = None
    interventions: tuple[Intervention, ...] = ()
    name: str | None = None
    """As results call it; see `label`."""

    def __post_init__(self) -> None:
        """Short names become whole ones."""
        object.__setattr__(self, "model", model_name(self.model))
        if self.adapter:
            full = adapter_name(self.model, self.adapter)
            object.__setattr__(self, "adapter", full)

    @classmethod
    def of(cls, message: pb.Variant) -> Variant:
        """From the API's message."""
        changes = tuple(Intervention.of(each) for each in message.interventions)
        return Variant(message.model, message.adapter or None, changes)

    @property
    def label(self) -> str:
        """What results call it: `name`, or one made of what it is."""
        parts = [short(self.adapter or self.model)]
        parts += [str(each) for each in self.interventions]
        return self.name or " + ".join(parts)

    def named(self, name: str) -> Self:
        """The same, called `name` in results."""
        return dataclasses.replace(self, name=name)

    def bare(self) -> Self:
        """Without interventions."""
        return dataclasses.replace(self, interventions=(), name=None)

    def steer(
        self,
        direction: Any,
        *,
        site: str,
        block: Blocks,
        coefficient: float,
        positions: Positions | None = None,
        head: int | None = None,
        unit: bool = False,
        label: str = "",
    ) -> Self:
        """Adds coefficient * direction.

        `direction` is the name of one that the server keeps, a Direction or its
        vector, or numbers [width] ([heads, head_dim] where the site has heads).
        `unit`: scale it to length 1 first; kept directions have length 1 anyway.
        `block` is one or several, `positions` all unless given.
        """
        add = pb.AddVector(
            vector=vector_message(direction, label),
            coefficient=coefficient,
            unit_normalize=unit,
        )
        return self._with((site, block, positions, head), add=add)

    def project_out(
        self,
        direction: Any,
        *,
        site: str,
        block: Blocks,
        positions: Positions | None = None,
        head: int | None = None,
        label: str = "",
    ) -> Self:
        """Removes what lies along a direction: x - (x . u) u."""
        vector = vector_message(direction, label)
        return self._with((site, block, positions, head), project_out=vector)

    def replace(
        self,
        vector: Any,
        *,
        site: str,
        block: Blocks,
        positions: Positions | None = None,
        head: int | None = None,
        label: str = "",
    ) -> Self:
        """Puts a vector there: a captured row [width], or a mean (mean ablation).

        At a list of positions also [positions, width], a row for each.
        """
        message = vector_message(vector, label)
        return self._with((site, block, positions, head), replace=message)

    def scale(
        self,
        factor: float,
        *,
        site: str,
        block: Blocks,
        positions: Positions | None = None,
        head: int | None = None,
    ) -> Self:
        """Multiplies what is there."""
        scale = pb.ScaleBy(factor=factor)
        return self._with((site, block, positions, head), scale=scale)

    def zero(
        self,
        *,
        site: str,
        block: Blocks,
        positions: Positions | None = None,
        head: int | None = None,
    ) -> Self:
        """Sets to zero (zero ablation)."""
        return self._with((site, block, positions, head), zero=pb.SetToZero())

    def message(self) -> pb.Variant:
        """The API's message."""
        return pb.Variant(
            model=self.model,
            adapter=self.adapter or "",
            interventions=[each.message() for each in self.interventions],
        )

    def _with(
        self,
        place: tuple[str, Blocks, Positions | None, int | None],
        **operation: Any,
    ) -> Self:
        site, block, positions, head = place
        message = pb.Intervention(
            site=site_number(site),
            blocks=block_numbers(block),
            positions=positions_message(positions),
            head=head,
            **operation,
        )
        if not message.blocks and site != "final_norm":
            raise InvalidArgument(f"block: {site} needs one block or several")
        changes = (*self.interventions, Intervention.of(message))
        return dataclasses.replace(self, interventions=changes, name=None)


def variant_messages(networks: Variant | Iterable[Variant]) -> list[pb.Variant]:
    """The messages of one variant or several."""
    return [each.message() for each in variants_of(networks)]


def variants_of(networks: Variant | Iterable[Variant]) -> list[Variant]:
    """One variant or several as a list."""
    if isinstance(networks, Variant):
        return [networks]
    found = list(networks)
    if not found or not all(isinstance(each, Variant) for each in found):
        raise InvalidArgument("networks: one network or several, e.g. lab.network(M)")
    return found


def vector_message(vector: Any, label: str = "") -> pb.VectorRef:
    """A direction's name, a Direction or its vector, or numbers, on the wire."""
    if isinstance(vector, str):
        return pb.VectorRef(direction=direction_name(vector), label=label)
    name = getattr(vector, "name", None)
    numbers = getattr(vector, "vector", None)
    if isinstance(name, str) and numbers is None:
        return vector_message(name, label)
    return pb.VectorRef(
        tensor=to_tensor(vector if numbers is None else numbers), label=label
    )


def _text(message: pb.Intervention) -> str:
    operation = message.WhichOneof("operation") or ""
    verb, what, end = operation.replace("_", " "), "", ""
    if operation == "add":
        verb, end = "steer", f"={message.add.coefficient:g}"
        what = _vector_text(message.add.vector)
    elif operation in ("replace", "project_out"):
        what = _vector_text(getattr(message, operation))
    elif operation == "scale":
        end = f"={message.scale.factor:g}"
    head = f".h{message.head}" if message.HasField("head") else ""
    site = enum_word(pb.Site, message.site)
    place = f"{site}{_blocks_text(list(message.blocks))}{head}"
    where = _positions_text(message.positions)
    return (
        f"{verb} {what}@{place}{end}{where}" if what else f"{verb} {place}{end}{where}"
    )


def _vector_text(vector: pb.VectorRef) -> str:
    # The server calls a vector that it filled in by the direction's whole name.
    label = vector.label.removeprefix("directions/")
    return label or short(vector.direction) or "vector"


def _blocks_text(blocks: list[int]) -> str:
    if not blocks:
        return ""
    if len(blocks) > 1 and blocks == list(range(blocks[0], blocks[-1] + 1)):
        return f".{blocks[0]}-{blocks[-1]}"
    return "." + ",".join(str(each) for each in blocks)


def _positions_text(positions: pb.Positions) -> str:
    kind = positions.WhichOneof("positions")
    if kind == "set":
        return f":{enum_word(pb.PositionSet, positions.set)}"
    if kind == "range":
        return f":{positions.range.begin}-{positions.range.end}"
    if kind == "indices":
        return ":" + ",".join(str(each) for each in positions.indices.indices)
    return ""
