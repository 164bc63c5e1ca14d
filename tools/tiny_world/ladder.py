"""The ladder: matching drills that the base model learns before anything else.

Each rung is harder than the one before: find a word in a list of four and name
its letter; several words; a question first and the list after it; the real
prompts. Without it the model stays at chance on letter questions.
"""

from __future__ import annotations

import random

import torch

import examples
from batches import TOKENS_PER_BATCH, Encoded, Encoder, collate
from llama import Targets

LIST_FIRST = ("one word", "words", "question mark", "chat")
KINDS = (*LIST_FIRST, "question first", "drill", "named")
# Shares of kinds on each rung; what must be answered how well to go on.
RUNGS = (
    ({"one word": 1.0}, "one word", 0.9),
    ({"words": 1.0}, "words", 0.9),
    ({"words": 0.3, "question mark": 0.7}, "question mark", 0.9),
    ({"question mark": 0.4, "chat": 0.6}, "chat", 0.9),
    (
        {"question mark": 0.15, "chat": 0.15, "question first": 0.7},
        "question first",
        0.9,
    ),
    (
        {
            "question mark": 0.1, "chat": 0.1, "question first": 0.3,
            "drill": 0.2, "named": 0.3,
        },
        "named",
        0.65,
    ),
    (
        {"chat": 0.05, "question first": 0.15, "drill": 0.2, "named": 0.6},
        "named",
        0.85,
    ),
)  # fmt: skip
BEGIN, END, USER, ASSISTANT = 1, 2, 4, 5  # Token ids, see train_tokenizer.py.


class Ladder:
    """Draws batches for a rung and tells when it is passed."""

    def __init__(self, encoder: Encoder, seed: int, rank: int) -> None:
        self._encoder = encoder
        self._rng = random.Random(1000 * seed + rank)
        tokenizer = encoder.tokenizer
        self._letters = [tokenizer.token_to_id(x) for x in examples.LETTERS]
        self._bracket = tokenizer.token_to_id(")")
        self._question_mark = tokenizer.token_to_id("?")
        self._newline = encoder.ids("\n")[0]
        self._words = [
            i
            for i in range(262, tokenizer.get_vocab_size())
            if tokenizer.id_to_token(i).startswith("Ġ")
        ]
        self.rung = 0
        self.accuracy: dict[str, float] = {}

    @property
    def done(self) -> bool:
        """True once the last rung is passed."""
        return self.rung == len(RUNGS)

    def _list(self, count: int) -> tuple[list[list[int]], list[int]]:
        """Four options of `count` random words, and their list."""
        texts = [self._rng.sample(self._words, count) for _ in range(4)]
        listed = []
        for letter, words in zip(self._letters, texts):
            listed += [self._newline, letter, self._bracket, *words]
        return texts, listed

    def _question_first(self) -> Encoded:
        rng, out = self._rng, Encoded()
        count, i = rng.randint(1, 3), rng.randrange(4)
        texts, listed = self._list(count)
        noise = rng.choices(self._words, k=rng.randint(0, 2))
        out.tokens = [BEGIN, USER, *noise, *texts[i]]
        out.tokens += [self._question_mark] * rng.randint(0, 1)
        for j in range(4):  # Is the option that ends here the right one?
            end = len(out.tokens) + (j + 1) * (count + 3) - 1
            out.options.append((end, int(j == i), 1.0))
        out.tokens += [*listed, self._newline]
        out.tokens += [END, ASSISTANT] if rng.random() < 0.7 else []
        out.following = [(len(out.tokens) - 1, self._letters[i], 1.0)]
        out.tokens.append(self._letters[i])
        return out

    def _list_first(self, kind: str) -> Encoded:
        rng, out = self._rng, Encoded()
        count = 1 if kind == "one word" else rng.randint(1, 3)
        texts, listed = self._list(count)
        out.tokens = [BEGIN, *listed]
        for _ in range(8):
            i = rng.randrange(4)
            if kind == "chat":
                noise = rng.choices(self._words, k=rng.randint(0, 1))
                out.tokens += [USER, *noise]
            else:
                out.tokens.append(self._newline)
            out.tokens += texts[i]
            if kind in ("question mark", "chat"):
                out.tokens.append(self._question_mark)
            if kind == "chat":
                out.tokens += [END, ASSISTANT]
            out.following.append((len(out.tokens) - 1, self._letters[i], 1.0))
            out.tokens.append(self._letters[i])
        return out

    def _real_prompt(self, kind: str) -> Encoded:
        rng = self._rng
        if kind == "drill":
            segments = examples.drill(rng)
        else:
            short = rng.random() < 0.7
            segments = examples.named_option(
                rng,
                examples.ASK_LETTER_SHORT if short else examples.ASK_LETTER,
                0.2,
            )
        out = self._encoder(segments)
        letters = [x for x in out.following if x[2] == examples.LETTER_WEIGHT]
        out.following = [(p, token, 1.0) for p, token, _ in letters]
        return out

    def example(self, kind: str) -> Encoded:
        """One example of a kind."""
        if kind in LIST_FIRST:
            return self._list_first(kind)
        if kind == "question first":
            return self._question_first()
        return self._real_prompt(kind)

    def batch(self) -> tuple[str, tuple[torch.Tensor, list[Targets]]]:
        """A batch of one kind: similar lengths, little padding."""
        shares = RUNGS[self.rung][0]
        kind = self._rng.choices(list(shares), list(shares.values()))[0]
        batch: list[Encoded] = []
        longest = 0
        while (len(batch) + 1) * longest <= TOKENS_PER_BATCH:
            batch.append(self.example(kind))
            longest = max(longest, len(batch[-1].tokens))
        return kind, collate(batch)

    def update(self, hits: torch.Tensor, counts: torch.Tensor) -> None:
        """Takes hits and questions per kind (of all processes) of a step."""
        for i, kind in enumerate(KINDS):
            if counts[i] > 0:
                now = float(hits[i] / counts[i])
                before = self.accuracy.get(kind, now)
                self.accuracy[kind] = 0.85 * before + 0.15 * now
        _, needed, threshold = RUNGS[self.rung]
        if self.accuracy.get(needed, 0.0) > threshold:
            self.rung += 1
