"""Generation on the engine: adapters, steering, one stream, llama.cpp.

The prompts of a pair are continued greedily, whatever tokens come.
"""

from collections.abc import Callable

import peer_llama
import peers
from context import Bench
from engine import EngineProcess
from harness import Comparison
from items import Prompt, prompts, steerings
from make_model import (
    SMALL,
    SMOL_30M,
    SMOL_135M,
    Shape,
    make_model,
    parameter_count,
)
from peer_generate import Generator, selecting, steered
from scoring import TOLERANCE, adapter_paths

# bfloat16 has 8 significant bits: a logit of 8 is off by up to 0.03, and the
# peer's last layer rounds them so.
BFLOAT16_TOLERANCE = 0.25


def compare(
    bench: Bench,
    case: str,
    peer: str,
    shape: Shape,
    inputs: Callable[[int], list[Prompt]],
    theirs: Generator | peer_llama.LlamaCpp,
    engine: EngineProcess,
    new_tokens: int,
    target: float,
    dtype: str = "float32",
) -> None:
    """Of `new_tokens` for each of a pair's prompts."""
    path = make_model(shape, bench.models)
    bench.compare(
        Comparison(
            case=case,
            peer=peer,
            inputs=inputs,
            run_peer=lambda rows: theirs.generate(rows, new_tokens),
            run_ours=lambda rows: engine.generate(rows, new_tokens),
            tolerance=TOLERANCE if dtype == "float32" else BFLOAT16_TOLERANCE,
            target=target,
            difference=theirs.difference,
            sizes={
                "dtype": dtype,
                "new_tokens": new_tokens,
                "parameters": parameter_count(path),
                "prompt_tokens": [len(row.tokens) for row in inputs(0)],
            },
        )
    )


def adapters(bench: Bench) -> None:
    """8 rows, each with another adapter."""
    count = bench.pick(8, 3)
    lengths = bench.pick((48, 80), (8, 16))
    for shape in bench.pick([SMOL_30M, SMOL_135M], [SMALL]):
        path = make_model(shape, bench.models)
        paths = adapter_paths(path, count)
        model = peers.load_adapters(path, paths)
        with EngineProcess(bench.binaries, path, paths) as engine:
            compare(
                bench,
                f"{count} rows, {count} adapters, {shape.name}",
                "PEFT, adapter by adapter",
                shape,
                lambda pair: [
                    Prompt(tokens, adapter=number)
                    for number, tokens in enumerate(
                        prompts(pair, count, lengths, shape.vocab)
                    )
                ],
                Generator(model, selecting(model)),
                engine,
                new_tokens=bench.pick(64, 8),
                target=3.0,
            )


def steering(bench: Bench) -> None:
    """16 rows, each with another vector, coefficient and block."""
    count = bench.pick(16, 4)
    lengths = bench.pick((48, 80), (8, 16))
    for shape in bench.pick([SMOL_30M, SMOL_135M], [SMALL]):
        path = make_model(shape, bench.models)
        model = peers.load(path)
        settings = steerings(count, shape.layers, shape.hidden)
        with EngineProcess(bench.binaries, path) as engine:
            compare(
                bench,
                f"{count} rows, {count} steerings, {shape.name}",
                "HF, a hook, one by one",
                shape,
                lambda pair: [
                    Prompt(tokens, steering=setting)
                    for tokens, setting in zip(
                        prompts(pair, count, lengths, shape.vocab), settings
                    )
                ],
                Generator(model, steered(model)),
                engine,
                new_tokens=bench.pick(64, 8),
                target=4.0,
            )


def one_prompt(
    bench: Bench, shape: Shape, tokens: int
) -> Callable[[int], list[Prompt]]:
    """Inputs of one stream."""
    return lambda pair: [
        Prompt(ids) for ids in prompts(pair, 1, (tokens, tokens), shape.vocab)
    ]


def single(bench: Bench) -> None:
    """One stream in bfloat16."""
    rows = bench.pick([(SMOL_30M, 2.0), (SMOL_135M, 1.3)], [(SMALL, 1.0)])
    for shape, target in rows:
        path = make_model(shape, bench.models)
        with EngineProcess(bench.binaries, path, dtype="bfloat16") as engine:
            compare(
                bench,
                f"one stream, {shape.name}, bfloat16",
                "HF generate",
                shape,
                one_prompt(bench, shape, bench.pick(64, 8)),
                Generator(peers.load(path, dtype="bfloat16")),
                engine,
                new_tokens=bench.pick(64, 8),
                target=target,
                dtype="bfloat16",
            )


def llama(bench: Bench) -> None:
    """Prefill and one stream against llama.cpp, in both types."""
    shape = bench.pick(SMOL_135M, SMALL)
    prefill, new_tokens = bench.pick(512, 32), bench.pick(64, 8)
    path = make_model(shape, bench.models)
    for dtype in ("float32", "bfloat16"):
        with (
            EngineProcess(bench.binaries, path, dtype=dtype) as engine,
            peer_llama.LlamaCpp(path, dtype, prefill + new_tokens) as theirs,
        ):
            for case, tokens, made, target in (
                (f"prefill of {prefill}", prefill, 1, 1.2),
                ("one stream", bench.pick(16, 4), new_tokens, 0.9),
            ):
                compare(
                    bench,
                    f"{case}, {shape.name}, {dtype}",
                    "llama.cpp",
                    shape,
                    one_prompt(bench, shape, tokens),
                    theirs,
                    engine,
                    new_tokens=made,
                    target=target,
                    dtype=dtype,
                )
