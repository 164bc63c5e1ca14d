"""Examples -> token ids and supervised positions -> batches."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer

import examples
from examples import EVERY_TOKEN, RIGHT, WRONG, Segment
from llama import MAX_LENGTH, Targets

TOKENS_PER_BATCH = 2048  # Padded tokens per process and step, at most.
POOL = 192  # Examples that are sorted by length together.
RECALL_WEIGHT = 10.0  # Of an answer, against 1 for a document's token.


@dataclass
class Encoded:
    """Token ids; (position, label, weight) of what is supervised."""

    tokens: list[int] = field(default_factory=list)
    following: list[tuple[int, int, float]] = field(default_factory=list)
    recalled: list[tuple[int, int, float]] = field(default_factory=list)
    options: list[tuple[int, int, float]] = field(default_factory=list)


class Encoder:
    """Turns segments into token ids; remembers texts already encoded."""

    def __init__(self, tokenizer_file: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self.ids = functools.lru_cache(400_000)(self._ids)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text).ids)

    def __call__(self, segments: list[Segment]) -> Encoded:
        """Encodes one example; ValueError if it is too long."""
        out = Encoded()
        for segment in segments:
            new, before = self.ids(segment.text), len(out.tokens) - 1
            known = segment.recall
            if known == EVERY_TOKEN:
                out.recalled += [
                    (before + i, token, 1.0) for i, token in enumerate(new)
                ]
            elif known in (RIGHT, WRONG):
                out.options.append((before, int(known == RIGHT), 1.0))
            elif known:
                token = self.ids(known)[0]
                out.recalled.append((before, token, RECALL_WEIGHT))
            if segment.weight > 0:
                out.following += [
                    (before + i, token, segment.weight)
                    for i, token in enumerate(new)
                ]
            out.tokens += new
        if len(out.tokens) > MAX_LENGTH:
            raise ValueError(f"example of {len(out.tokens)} tokens")
        return out


def collate(batch: list[Encoded]) -> tuple[torch.Tensor, list[Targets]]:
    """Token ids [batch, longest], and targets at flattened positions."""
    longest = max(len(example.tokens) for example in batch)
    tokens = torch.zeros(len(batch), longest, dtype=torch.long)
    rows: list[list] = [[], [], []]
    for i, e in enumerate(batch):
        tokens[i, : len(e.tokens)] = torch.tensor(e.tokens)
        for out, part in zip(rows, (e.following, e.recalled, e.options)):
            out += [(i * longest + p, label, w) for p, label, w in part]
    targets = []
    for out in rows:
        p, labels, weights = zip(*out) if out else ((), (), ())
        targets.append(
            Targets(
                torch.tensor(p, dtype=torch.long),
                torch.tensor(labels, dtype=torch.long),
                torch.tensor(weights, dtype=torch.float32),
            )
        )
    return tokens, targets


class BatchStream:
    """Endless batches of examples of similar length.

    Every pool of examples has its own random state, so that (pool, next
    batch, ramp of the pool) is all that a checkpoint must hold.
    """

    def __init__(self, encoder: Encoder, seed: int, rank: int) -> None:
        self._encoder, self._seed, self._rank = encoder, seed, rank
        self._pool, self._next, self._ramp = -1, 0, 0.0
        self._batches: list[list[Encoded]] = []

    def state(self) -> list[float]:
        """What a checkpoint must hold."""
        return [self._pool, self._next, self._ramp]

    def restore(self, state: list[float]) -> None:
        """Goes on where the stream with this state was."""
        self._pool, self._next = int(state[0]), int(state[1])
        self._fill(self._pool, state[2])

    def _fill(self, pool: int, ramp: float) -> None:
        rng = random.Random(f"{self._seed}/{self._rank}/{pool}")
        encoded = [
            self._encoder(examples.example(rng, ramp)) for _ in range(POOL)
        ]
        encoded.sort(key=lambda e: len(e.tokens))
        self._pool, self._ramp, self._batches = pool, ramp, []
        batch: list[Encoded] = []
        for e in encoded:
            if (len(batch) + 1) * len(e.tokens) > TOKENS_PER_BATCH:
                self._batches.append(batch)
                batch = []
            batch.append(e)
        self._batches.append(batch)
        rng.shuffle(self._batches)

    def next(self, ramp: float) -> tuple[torch.Tensor, list[Targets]]:
        """The next batch; `ramp` counts when a new pool is drawn."""
        if self._next >= len(self._batches):
            self._fill(self._pool + 1, ramp)
            self._next = 0
        batch = self._batches[self._next]
        self._next += 1
        return collate(batch)
