"""What direct calls give back: sequences of dataclasses, each with a frame().

scores = base.score("The capital of France is", [" Paris", " Rome"])
scores[0].logprobs      # [continuations], nats
scores.frame()          # a row for each continuation
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import numpy as np

from .frames import frame_of
from .names import enum_word
from .tensors import Array
from .v1 import common_pb2 as pb
from .v1 import inference_pb2

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True)
class Provenance:
    """What a result depended on; equal provenance, equal bits."""

    model_digest: str
    adapter_digest: str
    tokenizer_digest: str
    input_digest: str
    dtype: str
    device: str
    seed: int
    versions: dict[str, str]
    reproducible: bool

    @classmethod
    def of(cls, message: pb.Provenance) -> Self:
        """From the API's message."""
        return cls(
            model_digest=message.model_digest,
            adapter_digest=message.adapter_digest,
            tokenizer_digest=message.tokenizer_digest,
            input_digest=message.input_digest,
            dtype=enum_word(pb.DType, message.dtype),
            device=message.device,
            seed=message.seed,
            versions=dict(message.versions),
            reproducible=message.reproducible,
        )


def provenance_of(messages: Iterable[pb.Provenance]) -> tuple[Provenance, ...]:
    """One for each network of a request."""
    return tuple(Provenance.of(each) for each in messages)


class Results(Sequence[T], Generic[T]):
    """An immutable sequence of results, with the provenance of each network."""

    def __init__(
        self, items: Iterable[T], provenance: Iterable[Provenance] = ()
    ) -> None:
        """Results in the order of the request."""
        self._items = tuple(items)
        self.provenance = tuple(provenance)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> T | Self:
        """One, or some of them."""
        if isinstance(index, slice):
            return type(self)(self._items[index], self.provenance)
        return self._items[index]

    def __repr__(self) -> str:
        """The kind, the number, and the first few."""
        few = ",\n  ".join(f"{each!r:.200}" for each in self._items[:3])
        more = ",\n  ..." if len(self) > 3 else ""
        return f"{type(self).__name__} of {len(self)}:\n  {few}{more}"

    def _repr_html_(self) -> str | None:
        """The frame, for notebooks; where pandas is missing, they take repr()."""
        try:
            html: str = self.frame()._repr_html_()  # type: ignore[operator]
        except ImportError:
            return None
        return html

    def where(self, **fields: Any) -> Self:
        """Those whose fields have these values: where(network="cubic", id="q1")."""
        kept = [
            each
            for each in self._items
            if all(getattr(each, key) == value for key, value in fields.items())
        ]
        return type(self)(kept, self.provenance)

    def frame(self) -> pd.DataFrame:
        """A DataFrame; the kinds of results say of what."""
        return frame_of(row for each in self._items for row in self._rows(each))

    def _rows(self, item: T) -> Iterator[dict[str, Any]]:
        raise NotImplementedError


@dataclass(frozen=True)
class ContinuationScore:
    """Log-probability of one continuation, natural logarithm."""

    text: str | None
    """As asked; None where token ids were given."""
    token_ids: tuple[int, ...]
    logprob: float
    """The sum of token_logprobs, nats."""
    token_logprobs: Array
    """[tokens], float32."""
    is_greedy: bool
    """Whether every token was the most likely one at its place."""


@dataclass(frozen=True)
class Score:
    """The continuations of one prompt under one network."""

    network: str
    id: str
    sample: int
    """Dropout sample, from 0."""
    prompt_token_count: int
    continuations: tuple[ContinuationScore, ...]

    @property
    def logprobs(self) -> Array:
        """[continuations], float64, nats."""
        return np.array([each.logprob for each in self.continuations])

    @property
    def best(self) -> ContinuationScore:
        """The most likely one; of equals the first."""
        return self.continuations[int(np.argmax(self.logprobs))]


class Scores(Results[Score]):
    """Scores by network, prompt and sample; frame(): a row for each continuation."""

    @property
    def logprobs(self) -> Array:
        """[scores, continuations], if all have equally many, nats."""
        return np.array([each.logprobs for each in self])

    def _rows(self, item: Score) -> Iterator[dict[str, Any]]:
        for index, each in enumerate(item.continuations):
            yield {
                "network": item.network,
                "id": item.id,
                "sample": item.sample,
                "continuation": index if each.text is None else each.text,
                "logprob": each.logprob,
                "token_count": len(each.token_ids),
                "is_greedy": each.is_greedy,
                "prompt_token_count": item.prompt_token_count,
            }


def score_of(
    message: inference_pb2.ItemScore, network: str, item: inference_pb2.ScoreItem
) -> Score:
    """A score from the API's message and what was asked."""
    continuations = tuple(
        ContinuationScore(
            text=asked.text if asked.HasField("text") else None,
            token_ids=tuple(each.token_ids),
            logprob=each.logprob,
            token_logprobs=np.array(each.token_logprobs, dtype=np.float32),
            is_greedy=each.is_greedy,
        )
        for each, asked in zip(message.continuations, item.continuations, strict=True)
    )
    return Score(
        network=network,
        id=item.prompt.id,
        sample=message.sample_index,
        prompt_token_count=message.prompt_token_count,
        continuations=continuations,
    )
