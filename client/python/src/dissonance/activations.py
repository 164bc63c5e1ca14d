"""Activations as labelled numpy arrays.

    acts = cubic.activations(prompts, sites=["resid_post"], blocks=[2, 3])
    acts["resid_post", 2]           # [rows, d_model], one row per prompt by default
    acts.frame()                    # id, position, token_id, labels of each row
    acts.torch("resid_post", 2)     # the same memory as a torch tensor

Rows are by prompt, then position. Sites with heads have [rows, heads, head_dim]; the
attention pattern is a list with [queries, heads, keys] for each prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DataLoss, InvalidArgument
from .frames import frame_of
from .places import Place, place_message, place_of
from .results import Provenance
from .tensors import Array, stored, widened
from .v1 import common_pb2, interpretability_pb2

if TYPE_CHECKING:
    import pandas as pd

PATTERN = "pattern"


@dataclass(frozen=True, repr=False)
class Activations:
    """What one network computed at the places that were asked for."""

    network: str
    ids: tuple[str, ...]
    """Of the prompts."""
    labels: tuple[dict[str, str], ...]
    """Of the prompts."""
    prompt: Array
    """[rows], int: index into ids."""
    position: Array
    """[rows], int; of a mean, that of the last row in it."""
    token_id: Array
    """[rows], int."""
    generated: Array
    """[rows], bool: whether the position is behind the prompt."""
    from_store: bool
    """Whether the server had kept the answer."""
    provenance: Provenance | None
    _arrays: dict[Place, Array]
    _patterns: dict[Place, list[Array]]

    @property
    def places(self) -> list[Place]:
        """Where there are rows."""
        return [*self._arrays, *self._patterns]

    def __len__(self) -> int:
        """How many rows each place has."""
        return len(self.prompt)

    def __repr__(self) -> str:
        """The network, and the shape at each place."""
        shapes = [f"{p} {list(a.shape)}" for p, a in self._arrays.items()]
        shapes += [f"{p} of {len(a)} prompts" for p, a in self._patterns.items()]
        return f"<Activations of {self.network}: {', '.join(shapes)}>"

    def __getitem__(self, place: Place | tuple[str, int | None] | str) -> Any:
        """The rows at a place: acts["resid_post", 2] or acts["final_norm"].

        float32 or float64, without a copy; of bfloat16 a float32 copy, which has the
        same values. Of the pattern a list, an array for each prompt.
        """
        found = self._find(place)
        if found.site == PATTERN:
            return [widened(each) for each in self._patterns[found]]
        return widened(self._arrays[found])

    def torch(self, site: str, block: int | None = None) -> Any:
        """The rows at a place as a torch tensor that shares their memory.

        bfloat16 stays bfloat16. Of the pattern a list of tensors.
        """
        found = self._find(Place(site, block))
        if found.site == PATTERN:
            return [_torch(each) for each in self._patterns[found]]
        return _torch(self._arrays[found])

    def rows_of(self, id: str) -> Array:
        """[rows], bool: the rows of one prompt."""
        own: Array = self.prompt == self.ids.index(id)
        return own

    def frame(self) -> pd.DataFrame:
        """A row for each row: id, position, token_id, generated and the labels."""
        return frame_of(
            {
                "id": self.ids[self.prompt[row]],
                "position": int(self.position[row]),
                "token_id": int(self.token_id[row]),
                "generated": bool(self.generated[row]),
            }
            | self.labels[self.prompt[row]]
            for row in range(len(self))
        )

    def _find(self, place: Place | tuple[str, int | None] | str) -> Place:
        found = place_of(place_message(place))
        if found not in self._arrays and found not in self._patterns:
            known = ", ".join(str(each) for each in self.places)
            raise InvalidArgument(f"no activations at {found}, only at {known}")
        return found


def _torch(array: Array) -> Any:
    import torch

    if array.dtype == np.uint16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


@dataclass
class _Unit:
    """Rows of one prompt that were announced, and what has arrived of them."""

    announced: interpretability_pb2.ActivationRows
    pieces: dict[Place, list[Array]] = field(default_factory=dict)

    def check(self) -> None:
        """Raises DataLoss unless all places have all rows."""
        for place, pieces in self.pieces.items():
            count = sum(len(each) for each in pieces)
            if count != len(self.announced.rows):
                raise DataLoss(
                    f"{place}: {count} of {len(self.announced.rows)} rows arrived; "
                    "are client and server of the same version?"
                )


class Assembler:
    """Puts the messages of a stream together. Not thread safe.

    Pieces stay views of the bytes that arrived until all are there; then each place
    is copied once, into one array, and its pieces are let go.
    """

    def __init__(
        self, labels: Sequence[str], inputs: Sequence[common_pb2.Input]
    ) -> None:
        """For a request's networks and prompts."""
        self._labels = labels
        self._inputs = inputs
        self._units: list[_Unit] = []
        self._kept_count = 0
        self.cursor = ""
        self.summary: interpretability_pb2.ActivationSummary | None = None

    def add(self, message: interpretability_pb2.StreamActivationsResponse) -> None:
        """Takes a message."""
        kind = message.WhichOneof("event")
        if kind == "rows":
            self._units.append(_Unit(message.rows))
        elif kind == "chunk":
            pieces = self._units[-1].pieces
            place = place_of(message.chunk.place)
            pieces.setdefault(place, []).append(stored(message.chunk.tensor))
        elif kind == "summary":
            self._keep()
            self.summary = message.summary
        elif message.cursor:
            self._keep()
            self.cursor = message.cursor

    def drop(self) -> None:
        """Forgets what came behind the last cursor, before going on there."""
        del self._units[self._kept_count :]

    def activations(self) -> list[Activations]:
        """All of them, by network. To be called once."""
        return [self._finish(index) for index in range(len(self._labels))]

    def _keep(self) -> None:
        for unit in self._units[self._kept_count :]:
            unit.check()
        self._kept_count = len(self._units)

    def _finish(self, index: int) -> Activations:
        own = [each for each in self._units if each.announced.variant_index == index]
        arrays: dict[Place, Array] = {}
        patterns: dict[Place, list[Array]] = {}
        for place in list(own[0].pieces) if own else []:
            if place.site == PATTERN:
                patterns[place] = list(_by_prompt(own, place, len(self._inputs)))
            else:
                arrays[place] = _joined(own, place)
        rows = [row for unit in own for row in unit.announced.rows]
        provenance = self.summary.provenance if self.summary else []
        return Activations(
            network=self._labels[index],
            ids=tuple(each.id for each in self._inputs),
            labels=tuple(dict(each.labels) for each in self._inputs),
            prompt=np.array([each.input_index for each in rows], dtype=np.int64),
            position=np.array([each.position for each in rows], dtype=np.int64),
            token_id=np.array([each.token_id for each in rows], dtype=np.int64),
            generated=np.array([each.generated for each in rows], dtype=bool),
            from_store=bool(self.summary and self.summary.from_store),
            provenance=Provenance.of(provenance[index]) if provenance else None,
            _arrays=arrays,
            _patterns=patterns,
        )


def _joined(units: Sequence[_Unit], place: Place) -> Array:
    """One array of the rows at a place; lets go of the pieces."""
    return np.concatenate([each for unit in units for each in unit.pieces.pop(place)])


def _by_prompt(units: Sequence[_Unit], place: Place, count: int) -> Iterator[Array]:
    """Of each prompt one array; how many keys there are differs by prompt."""
    for prompt in range(count):
        own = [each for each in units if each.announced.rows[0].input_index == prompt]
        yield _joined(own, place) if own else np.empty((0, 0, 0), dtype=np.float32)
