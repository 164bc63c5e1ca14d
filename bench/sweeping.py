"""A steering sweep: many settings on the same questions."""

from dataclasses import dataclass, replace

import numpy as np
import peers
from context import Bench
from harness import Comparison, Scores
from items import Item, Prompt, Steering, mcq_items, steerings
from make_model import SMALL, SMOL_30M, Shape, make_model, parameter_count
from peer_generate import steered
from transformers import LlamaForCausalLM

# Largest difference of a log-probability in float32, nats.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Sweep:
    """Every question under every setting."""

    items: list[Item]
    settings: list[Steering]


def questions(
    pair: int, count: int, lengths: tuple[int, int], vocab: int
) -> list[Item]:
    """Four answers of one token each."""
    return [
        Item(item.prompt, item.continuations[4:8])
        for item in mcq_items(pair, count, lengths, vocab)
    ]


def setting_by_setting(
    model: LlamaForCausalLM, sweep: Sweep, score: peers.Scorer
) -> Scores:
    """A forward hook for each setting; `score` takes the questions."""
    using = steered(model)
    scores: Scores = []
    for setting in sweep.settings:
        with using(Prompt([], steering=setting)):
            scores.extend(score(model, sweep.items))
    return scores


def grid(blocks: int, coefficients: int, shape: Shape) -> list[Steering]:
    """Settings of blocks that lie evenly from the first to the last."""
    chosen = np.linspace(0, shape.layers - 1, blocks).round().astype(int)
    return [
        replace(setting, blocks=[int(block)])
        for block in chosen
        for setting in steerings(coefficients, shape.layers, shape.hidden)
    ]


def sweep(bench: Bench) -> None:
    """8 blocks with 9 coefficients over 36 questions."""
    shape = bench.pick(SMOL_30M, SMALL)
    count = bench.pick(36, 2)
    blocks, coefficients = bench.pick((8, 9), (2, 3))
    lengths = bench.pick((48, 96), (8, 16))
    path = make_model(shape, bench.models)
    model = peers.load(path)
    name = bench.server.load_model("bench", path)
    settings = grid(blocks, coefficients, shape)
    for label, score, target in (
        (
            "HF, a hook, one pass per continuation",
            peers.one_forward_per_continuation,
            4.0,
        ),
        (
            "HF, a hook, question by question",
            peers.one_forward_per_question,
            4.0,
        ),
        ("HF, a hook, padded batches", peers.padded_batches, None),
    ):
        bench.compare(
            Comparison(
                case="steering sweep",
                peer=label,
                inputs=lambda pair: Sweep(
                    questions(pair, count, lengths, shape.vocab), settings
                ),
                run_peer=lambda inputs: setting_by_setting(
                    model, inputs, score
                ),
                run_ours=lambda inputs: bench.server.sweep(
                    name, inputs.settings, inputs.items
                ),
                tolerance=TOLERANCE,
                target=target,
                sizes={
                    "continuations": 4,
                    "items_per_pair": count,
                    "parameters": parameter_count(path),
                    "prompt_tokens": lengths,
                    "settings": len(settings),
                },
            )
        )
