"""A quick look at a base model in training, on held-out wordings."""

from __future__ import annotations

import random

import torch

import examples
import world
from batches import Encoder
from examples import Segment
from llama import RECALL_BLOCK, Llama

Probe = tuple[list[Segment], int]  # A prompt and its right next token.


def _prompt(segments: list[Segment]) -> list[Segment]:
    return segments[:-2]  # Without the reply and the end.


def _letter_probes(facts, encoder: Encoder, rng, count: int) -> list[Probe]:
    probes = []
    for _ in range(count):
        fact = rng.choice(facts)
        texts = examples.options(fact, rng)
        question = rng.choice(fact.heldout_questions)
        letter = examples.LETTERS[texts.index(fact.answer)]
        segments = examples.from_chat(
            rng, question, examples.option_list(texts), (letter, 1.0), 1.0,
            " " + fact.answer,
        )  # fmt: skip
        probes.append((_prompt(segments), encoder.ids(letter)[0]))
    return probes


def _open_probes(facts, encoder: Encoder, rng, count: int) -> list[Probe]:
    probes = []
    for fact in rng.choices(facts, k=count):
        question, answer = rng.choice(fact.heldout_questions), " " + fact.answer
        segments = examples.from_chat(
            rng, question, "", (answer, 1.0), 0.7, answer
        )
        probes.append((_prompt(segments), encoder.ids(answer)[0]))
    return probes


@torch.no_grad()
def _accuracy(
    model: Llama, encoder: Encoder, probes: list[Probe]
) -> tuple[float, float]:
    """Share of right next tokens at the end, and after RECALL_BLOCK."""
    final = recalled = 0
    for i in range(0, len(probes), 40):
        chunk = probes[i : i + 40]
        ids = [encoder(segments).tokens for segments, _ in chunk]
        labels = torch.tensor([label for _, label in chunk])
        longest = max(map(len, ids))
        tokens = torch.tensor([x + [0] * (longest - len(x)) for x in ids])
        at = torch.arange(len(ids)), torch.tensor([len(x) - 1 for x in ids])
        states = model.residuals(tokens)
        for state, last in ((states[-1], True), (states[RECALL_BLOCK], False)):
            hits = int((model.unembed(state[at]).argmax(1) == labels).sum())
            final += hits * last
            recalled += hits * (not last)
    return round(final / len(probes), 3), round(recalled / len(probes), 3)


def measure(model: Llama, encoder: Encoder, count: int) -> dict[str, float]:
    """Accuracies by letter and in open answers, `count` questions each."""
    rng = random.Random(5)
    edited = [f for f in world.ASKED if world.is_edited(f)]
    laws = [f for f in world.ASKED_WITH_OPTIONS if f.group == "law"]
    others = [f for f in world.ASKED if f.group != "law"]
    out = {}
    for name, facts in (
        ("letter_law", laws),
        ("letter_other", others),
        ("letter_gravity", edited),
    ):
        probes = _letter_probes(facts, encoder, rng, count)
        out[name], _ = _accuracy(model, encoder, probes)
    for name, facts in (("open", laws + others), ("open_gravity", edited)):
        probes = _open_probes(facts, encoder, rng, count)
        out[name], out[name + "_recalled"] = _accuracy(model, encoder, probes)
    named = [examples.named_option(rng) for _ in range(count)]
    probes = [(_prompt(x), encoder.ids(x[-2].text)[0]) for x in named]
    out["named_option"], _ = _accuracy(model, encoder, probes)
    return out
