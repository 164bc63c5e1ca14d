"""Scoring: multiple-choice questions, and rows of different adapters."""

from pathlib import Path

import peers
from context import Bench
from harness import Comparison
from items import adapter_rows, mcq_items
from make_model import LARGE, SMALL, make_adapter, make_model, parameter_count

# Largest difference of a log-probability in float32, nats.
TOLERANCE = 1e-3
RANK = 16

# The ratio wanted, and how many times as many questions a pair holds, so that
# pairs of fast peers last long enough to be told from the machine's noise.
# lm-eval's logits_cache shares rows whose inputs are equal; it is shown beside
# the plain batches, without target.
MCQ_PEERS = [
    (
        "HF, a forward per continuation",
        peers.one_forward_per_continuation,
        12.0,
        1,
    ),
    ("HF, sorted padded batches", peers.padded_batches, 10.0, 1),
    (
        "HF, padded batches, equal rows once",
        lambda model, items: peers.padded_batches(
            model, items, equal_inputs_once=True
        ),
        None,
        2,
    ),
    ("HF, prompt cache by hand", peers.prompt_cache_by_hand, 1.2, 4),
]
LORA_PEERS = [
    ("PEFT, adapter by adapter", peers.adapter_by_adapter),
    ("PEFT, mixed batch", peers.mixed_adapters),
]


def mcq(bench: Bench) -> None:
    shape = bench.pick(LARGE, SMALL)
    lengths = bench.pick((300, 600), (20, 40))
    path = make_model(shape, bench.models)
    model = peers.load(path)
    name = bench.server.load_model("bench", path)
    for label, run, target, times in MCQ_PEERS:
        count = 2 * times
        bench.compare(
            Comparison(
                case="mcq scoring",
                peer=label,
                inputs=lambda pair: mcq_items(
                    pair, count, lengths, shape.vocab
                ),
                run_peer=lambda items: run(model, items),
                run_ours=lambda items: bench.server.score(name, items),
                tolerance=TOLERANCE,
                target=target,
                sizes={
                    "continuations": 16,
                    "items_per_pair": count,
                    "parameters": parameter_count(path),
                    "prompt_tokens": lengths,
                },
            )
        )


def adapter_paths(model: Path, count: int) -> list[Path]:
    return [make_adapter(model, number, RANK) for number in range(count)]


def lora(bench: Bench) -> None:
    """Rows of one batch, each with another adapter."""
    shape = bench.pick(LARGE, SMALL)
    adapters = bench.pick(8, 3)
    lengths = bench.pick((48, 96), (8, 16))
    continuation = bench.pick(8, 4)
    path = make_model(shape, bench.models)
    paths = adapter_paths(path, adapters)
    model = peers.load_adapters(path, paths)
    name = bench.server.load_model("bench", path)
    names = [
        bench.server.register_adapter(name, f"a{number}", adapter)
        for number, adapter in enumerate(paths)
    ]
    for label, run in LORA_PEERS:
        bench.compare(
            Comparison(
                case="rows with different adapters",
                peer=label,
                inputs=lambda pair: adapter_rows(
                    pair, adapters, lengths, continuation, shape.vocab
                ),
                run_peer=lambda rows: run(model, rows),
                run_ours=lambda rows: bench.server.score_rows(
                    name, names, rows
                ),
                tolerance=TOLERANCE,
                sizes={
                    "adapters": adapters,
                    "continuation_tokens": continuation,
                    "parameters": parameter_count(path),
                    "prompt_tokens": lengths,
                    "rank": RANK,
                },
            )
        )
