"""Inputs as token ids: multiple-choice items, rows for adapters, prompts."""

from dataclasses import dataclass

import numpy as np

# Ids of the parts of an answer. Real tokenizers give 8 continuations of one
# token (L, " L") and 8 of two that begin with the same one ("\nL", "\n L").
LETTERS = [3, 4, 5, 6]
SPACED_LETTERS = [7, 8, 9, 10]
NEWLINE = 11
FIRST_FREE_ID = 12


@dataclass(frozen=True)
class Item:
    prompt: list[int]
    continuations: list[list[int]]


@dataclass(frozen=True)
class Row:
    """One prompt with one continuation, for one adapter."""

    adapter: int
    item: Item


@dataclass(frozen=True)
class Steering:
    """coefficient * vector, added to the residual stream behind blocks."""

    blocks: list[int]
    coefficient: float
    vector: list[float]


@dataclass(frozen=True)
class Prompt:
    """To be continued."""

    tokens: list[int]
    adapter: int | None = None
    steering: Steering | None = None


@dataclass(frozen=True)
class Generation:
    """What continues a prompt."""

    tokens: list[int]
    logprobs: list[float]  # of each, nats


def letter_variants() -> list[list[int]]:
    plain = [[letter] for letter in LETTERS + SPACED_LETTERS]
    return plain + [[NEWLINE, letter] for letter in LETTERS + SPACED_LETTERS]


def random_ids(rng: np.random.Generator, count: int, vocab: int) -> list[int]:
    return rng.integers(FIRST_FREE_ID, vocab, size=count).tolist()


def mcq_items(
    pair: int, count: int, lengths: tuple[int, int], vocab: int
) -> list[Item]:
    """Items of one pair; a pair's prompts occur in no other pair."""
    rng = np.random.default_rng([1, pair + 1000])
    low, high = lengths
    return [
        Item(
            random_ids(rng, int(rng.integers(low, high + 1)), vocab),
            letter_variants(),
        )
        for _ in range(count)
    ]


def adapter_rows(
    pair: int,
    adapters: int,
    lengths: tuple[int, int],
    continuation: int,
    vocab: int,
) -> list[Row]:
    """One row for each adapter."""
    rng = np.random.default_rng([2, pair + 1000])
    low, high = lengths
    return [
        Row(
            adapter,
            Item(
                random_ids(rng, int(rng.integers(low, high + 1)), vocab),
                [random_ids(rng, continuation, vocab)],
            ),
        )
        for adapter in range(adapters)
    ]


def prompts(
    pair: int, count: int, lengths: tuple[int, int], vocab: int
) -> list[list[int]]:
    rng = np.random.default_rng([3, pair + 1000])
    low, high = lengths
    return [
        random_ids(rng, int(rng.integers(low, high + 1)), vocab)
        for _ in range(count)
    ]


def steerings(count: int, blocks: int, width: int) -> list[Steering]:
    """All different; strong enough to change the tokens."""
    rng = np.random.default_rng(4)
    return [
        Steering(
            blocks=[n % blocks],
            coefficient=float(rng.uniform(0.5, 2.0)),
            vector=rng.standard_normal(width).astype(np.float32).tolist(),
        )
        for n in range(count)
    ]
