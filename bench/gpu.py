"""Cases on a GPU: the engine alone on cuda:0 beside Hugging Face and PEFT.

A Llama of the shape of Llama-3.1-8B, random, in bfloat16. In smoke mode they
run on the CPU with a tiny model, so that they stay right where no GPU is.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import peers
import torch
from context import Bench, Case
from engine import EngineProcess
from generating import BFLOAT16_TOLERANCE
from harness import Comparison, Timed, timed
from items import Prompt, prompts, steerings
from make_model import LLAMA_8B, SMALL, Shape, make_model, parameter_count
from peer_generate import Batch, ContinuousBatch, Generator, MixedBatch
from scoring import adapter_paths


class Gpu:
    """The model of a case, on the engine and as the peers load it."""

    def __init__(self, bench: Bench, adapters: int = 0):
        self.bench = bench
        self.shape: Shape = bench.pick(LLAMA_8B, SMALL)
        self.device = bench.pick("cuda:0", "cpu")
        self.path = make_model(self.shape, bench.models)
        self.adapters = adapter_paths(self.path, adapters)
        self.engine = EngineProcess(
            bench.binaries,
            self.path,
            self.adapters,
            dtype="bfloat16",
            device=self.device,
            # As the peers' batches: all prompts first.
            job=True,
        )

    def __enter__(self) -> "Gpu":
        return self

    def __exit__(self, *error: Any) -> None:
        self.engine.__exit__(*error)

    def load(self) -> Any:
        options = {"dtype": "bfloat16", "device": self.device}
        if self.adapters:
            return peers.load_adapters(self.path, self.adapters, **options)
        return peers.load(self.path, **options)

    def rows(self, count: int, length: int) -> Callable[[int], list[Prompt]]:
        """Inputs of prompts of one length, so that no peer pads."""
        return lambda pair: [
            Prompt(ids)
            for ids in prompts(pair, count, (length, length), self.shape.vocab)
        ]

    def compare(
        self,
        case: str,
        peer: str,
        inputs: Callable[[int], Any],
        run_peer: Callable[[Any], Any],
        run_ours: Callable[[Any], Any],
        target: float | None,
        difference: Callable[[Any, Any, Any], float],
    ) -> None:
        self.bench.compare(
            Comparison(
                case=f"GPU: {case}",
                peer=peer,
                inputs=inputs,
                run_peer=run_peer,
                run_ours=run_ours,
                tolerance=BFLOAT16_TOLERANCE,
                target=target,
                sizes={"parameters": parameter_count(self.path)},
                difference=difference,
            )
        )


def decoding(
    generate: Callable[[list[Prompt], int], Any], new_tokens: int
) -> Callable[[list[Prompt]], Timed]:
    """Generates, timed without the prompts: less the time of prompts of the
    same lengths and of one token, whose ids are others, so that nothing is
    kept of them."""

    def run(rows: list[Prompt]) -> Timed:
        others = [replace(row, tokens=row.tokens[::-1]) for row in rows]
        first, _ = timed(lambda inputs: generate(inputs, 1), others)
        whole, results = timed(
            lambda inputs: generate(inputs, 1 + new_tokens), rows
        )
        return Timed(whole.seconds - first.seconds, results)

    return run


def copy_bandwidth(device: str) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    source = torch.empty(1 << 28, device=device)
    target = torch.empty_like(source)
    synchronize = getattr(torch, device.split(":")[0]).synchronize
    rates = []
    for _ in range(10):
        run, _ = timed(lambda _: (target.copy_(source), synchronize()), None)
        rates.append(2 * source.nbytes / run.seconds)
    return float(np.median(rates))


def decode(bench: Bench) -> None:
    """1, 32 and 128 rows behind prompts of 1024 tokens."""
    length, made = bench.pick((1024, 128), (16, 8))
    counts = bench.pick((1, 32, 128), (1, 3))
    with Gpu(bench) as gpu:
        model = gpu.load()
        ours = decoding(gpu.engine.generate, made)
        for count in counts:
            rivals: list[tuple[str, Generator, float]] = [
                ("HF generate", Batch(model), 5.0 if count == 1 else 2.0)
            ]
            if not bench.smoke and count > 1:
                continuous = ContinuousBatch(model)
                rivals.append(("HF continuous batching", continuous, 2.0))
            for peer, theirs, target in rivals:
                gpu.compare(
                    f"decode, {count} rows",
                    peer,
                    gpu.rows(count, length),
                    decoding(theirs.generate, made),
                    ours,
                    target,
                    theirs.difference,
                )
            if not bench.smoke and count > 1:
                continuous.close()
            seconds = np.median(bench.outcomes[-1].our_seconds)
            bench.report(
                f"GPU: decode, {count} rows, tokens a second",
                float(count * made / seconds),
                "tok/s",
            )
        if not bench.smoke:
            report_bandwidth(gpu, made, length)


def report_bandwidth(gpu: Gpu, made: int, length: int) -> None:
    """The weights read once a token, beside what a copy moves."""
    run = decoding(gpu.engine.generate, made)(gpu.rows(1, length)(5000))
    rate = 2 * parameter_count(gpu.path) * made / run.seconds
    gpu.bench.report(
        "GPU: copy bandwidth / decode, 1 row",
        copy_bandwidth(gpu.device) / rate,
        "x",
        limit=1 / 0.85,
    )


def prefill(bench: Bench) -> None:
    """16 prompts of 1024 tokens, and one new token of each."""
    count, length = bench.pick((16, 1024), (3, 16))
    with Gpu(bench) as gpu:
        theirs = Batch(gpu.load())
        gpu.compare(
            f"prefill, {count} x {length}",
            "HF, one batch",
            gpu.rows(count, length),
            lambda rows: theirs.generate(rows, 1),
            lambda rows: gpu.engine.generate(rows, 1),
            1.2,
            theirs.difference,
        )


def adapters(bench: Bench) -> None:
    """32 rows of 8 and of 32 adapters: PEFT's mixed batches, and no adapter."""
    made = bench.pick(64, 8)
    count, length = bench.pick((32, 128), (4, 16))
    variety = bench.pick(((8, 1.09), (32, 1.2)), ((2, 1.0), (4, 1.0)))
    with Gpu(bench, adapters=variety[-1][0]) as gpu:
        theirs = MixedBatch(gpu.load())
        ours = decoding(gpu.engine.generate, made)
        plain = gpu.rows(count, length)
        for adapter_count, limit in variety:

            def mixed(pair: int, adapter_count: int = adapter_count) -> Any:
                return [
                    replace(row, adapter=number % adapter_count)
                    for number, row in enumerate(plain(pair))
                ]

            case = f"{count} rows, {adapter_count} adapters"
            gpu.compare(
                case,
                "PEFT, mixed batch",
                mixed,
                decoding(theirs.generate, made),
                ours,
                4.0,
                theirs.difference,
            )
            gpu.compare(
                case,
                "ours without adapters",
                mixed,
                lambda rows: ours([Prompt(row.tokens) for row in rows]),
                ours,
                1 / limit,
                lambda *_: 0.0,
            )


def steering(bench: Bench) -> None:
    """128 rows, every block steered, in one way and in one for each row."""
    made = bench.pick(64, 8)
    count, length = bench.pick((128, 128), (4, 16))
    with Gpu(bench) as gpu:
        ours = decoding(gpu.engine.generate, made)
        settings = [
            replace(setting, blocks=list(range(gpu.shape.layers)))
            for setting in steerings(count, gpu.shape.layers, gpu.shape.hidden)
        ]
        for different, limit in ((1, 1.02), (count, 1.03)):

            def steered(pair: int, different: int = different) -> Any:
                return [
                    replace(row, steering=settings[number % different])
                    for number, row in enumerate(gpu.rows(count, length)(pair))
                ]

            gpu.compare(
                f"{count} rows, {gpu.shape.layers} steered layers, "
                f"{different} settings",
                "ours without steering",
                steered,
                lambda rows: ours([Prompt(row.tokens) for row in rows]),
                ours,
                1 / limit,
                lambda *_: 0.0,
            )


def capture(bench: Bench) -> None:
    """The residual stream of all layers, beside the same without."""
    made = bench.pick(64, 8)
    count, length = bench.pick((32, 256), (4, 16))
    with Gpu(bench) as gpu:
        places = [("resid_pre", 0)] + [
            ("resid_post", block) for block in range(gpu.shape.layers)
        ]
        for name, positions, new_tokens, limit in (
            ("the decision token", "last_prompt", 1, 1.01),
            ("every generated token", "generated", made, 1.03),
            ("the whole prompt", "all", 1, 1.06),
        ):
            spec = {"places": places, "positions": positions}
            gpu.compare(
                f"{count} rows, {len(places)} layers captured at {name}",
                "ours without capture",
                gpu.rows(count, length),
                lambda rows: gpu.engine.generate(
                    [replace(row, tokens=row.tokens[::-1]) for row in rows],
                    new_tokens,
                ),
                lambda rows: gpu.engine.generate(rows, new_tokens, spec),
                1 / limit,
                lambda *_: 0.0,
            )


CASES = {
    "gpu-decode": Case("decoding beside HF", 10, decode, needs_gpu=True),
    "gpu-prefill": Case("16 prompts of 1024", 3, prefill, needs_gpu=True),
    "gpu-adapters": Case("8 and 32 adapters", 10, adapters, needs_gpu=True),
    "gpu-steering": Case("128 steered rows", 5, steering, needs_gpu=True),
    "gpu-capture": Case("what capture costs", 5, capture, needs_gpu=True),
}
