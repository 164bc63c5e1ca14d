"""What is measured: comparisons with peers, and what the server itself costs."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers
from harness import ATTEMPTS, Comparison, Scores, max_difference, stolen_seconds
from items import Item, Row, adapter_rows, mcq_items
from make_model import LARGE, LARGEST, SMALL, Shape, make_adapter, make_model, parameter_count
from ours import EngineProcess, Server

# Largest difference of a log-probability in float32, nats.
TOLERANCE = 1e-3
RANK = 16


@dataclass(frozen=True)
class Sizes:
    """Of a run: the full one, or the small one that only asserts parity."""

    shape: Shape
    # Of the model whose start is timed: large enough that reading it takes
    # longer than starting two processes.
    start_shape: Shape
    prompt_tokens: tuple[int, int]
    items_per_pair: int
    adapters: int
    row_tokens: tuple[int, int]
    continuation_tokens: int
    overhead_calls: int
    judged: bool  # whether speed is held against its target


FULL = Sizes(LARGE, LARGEST, (300, 600), 2, 8, (48, 96), 8, 60, judged=True)
SMOKE = Sizes(SMALL, SMALL, (20, 40), 2, 3, (8, 16), 4, 8, judged=False)

# Peers of MCQ scoring: the ratio wanted, and how many times items_per_pair a
# pair holds, so that those of fast peers last long enough to be told from the
# machine's noise. lm-eval's logits_cache shares rows whose inputs are equal; it
# is shown beside the plain batches, without target.
MCQ_PEERS = [
    ("HF, a forward per continuation", peers.one_forward_per_continuation, 12.0, 1),
    ("HF, sorted padded batches", peers.padded_batches, 10.0, 1),
    (
        "HF, padded batches, equal rows once",
        lambda model, items: peers.padded_batches(model, items, equal_inputs_once=True),
        None,
        2,
    ),
    ("HF, prompt cache by hand", peers.prompt_cache_by_hand, 1.2, 4),
]
LORA_PEERS = [
    ("PEFT, adapter by adapter", peers.adapter_by_adapter, None),
    ("PEFT, mixed batch", peers.mixed_adapters, None),
]


def mcq_inputs(sizes: Sizes, count: int) -> Any:
    return lambda pair: mcq_items(pair, count, sizes.prompt_tokens, sizes.shape.vocab)


def row_inputs(sizes: Sizes) -> Any:
    return lambda pair: adapter_rows(
        pair,
        sizes.adapters,
        sizes.row_tokens,
        sizes.continuation_tokens,
        sizes.shape.vocab,
    )


def adapter_paths(sizes: Sizes, model: Path) -> list[Path]:
    return [make_adapter(model, n, RANK) for n in range(sizes.adapters)]


def mcq_comparisons(
    sizes: Sizes, folder: Path, server: Server | None
) -> list[Comparison]:
    """Without a server each peer is compared with the first."""
    path = make_model(sizes.shape, folder)
    model = peers.load(path)
    if server is not None:
        name = server.load_model("bench", path)

        def ours(items: list[Item]) -> Scores:
            return server.score(name, items)
    else:

        def ours(items: list[Item]) -> Scores:
            return MCQ_PEERS[0][1](model, items)

    return [
        Comparison(
            case="mcq scoring",
            peer=label,
            inputs=mcq_inputs(sizes, times * sizes.items_per_pair),
            run_peer=lambda items, run=run: run(model, items),
            run_ours=ours,
            tolerance=TOLERANCE,
            target=target if sizes.judged and server is not None else None,
            sizes={
                "continuations": 16,
                "items_per_pair": times * sizes.items_per_pair,
                "parameters": parameter_count(path),
                "prompt_tokens": sizes.prompt_tokens,
            },
        )
        for label, run, target, times in MCQ_PEERS
    ]


def lora_comparisons(
    sizes: Sizes, folder: Path, server: Server | None
) -> list[Comparison]:
    """Rows of one batch, each with another adapter."""
    path = make_model(sizes.shape, folder)
    paths = adapter_paths(sizes, path)
    model = peers.load_adapters(path, paths)
    if server is not None:
        name = server.load_model("bench", path)
        names = [
            server.register_adapter(name, f"a{n}", p) for n, p in enumerate(paths)
        ]

        def ours(rows: list[Row]) -> Scores:
            return server.score_rows(name, names, rows)
    else:

        def ours(rows: list[Row]) -> Scores:
            return LORA_PEERS[0][1](model, rows)

    return [
        Comparison(
            case="rows with different adapters",
            peer=label,
            inputs=row_inputs(sizes),
            run_peer=lambda rows, run=run: run(model, rows),
            run_ours=ours,
            tolerance=TOLERANCE,
            target=target if sizes.judged and server is not None else None,
            sizes={
                "adapters": sizes.adapters,
                "continuation_tokens": sizes.continuation_tokens,
                "parameters": parameter_count(path),
                "prompt_tokens": sizes.row_tokens,
                "rank": RANK,
            },
        )
        for label, run, target in LORA_PEERS
    ]


def server_overhead(
    sizes: Sizes, folder: Path, server: Server, binaries: Path
) -> dict[str, Any]:
    """What client, control plane and worker add to a Score of one prompt.

    On the tiny model, so that the engine's own time is small beside what is
    measured. Calls alternate, in the order A B B A; those during which the host
    took processor time away are made again, as measure() does.
    """
    path = make_model(SMALL, folder)
    name = server.load_model("overhead", path)
    calls: list[tuple[float, float, float]] = []  # stolen, direct, through
    difference, calm = 0.0, 0
    with EngineProcess(binaries, path) as engine:
        for number in range(-5, ATTEMPTS * sizes.overhead_calls):
            items = mcq_items(number, 1, (40, 60), SMALL.vocab)
            seconds, scores = {}, {}
            stolen = stolen_seconds()
            for side in ("direct", "through")[:: -1 if number % 2 else 1]:
                start = time.perf_counter()
                if side == "direct":
                    seconds[side], scores[side] = engine.score(items)
                else:
                    scores[side] = server.score(name, items)
                    seconds[side] = time.perf_counter() - start
            difference = max(
                difference, max_difference(scores["direct"], scores["through"])
            )
            if number < 0:
                continue
            stolen = stolen_seconds() - stolen
            calls.append((stolen, seconds["direct"], seconds["through"]))
            calm += stolen == 0
            if calm == sizes.overhead_calls:
                break
    kept = sorted(calls, key=lambda call: call[0])[: sizes.overhead_calls]
    _, direct, through = zip(*kept)
    added = 1e3 * np.median(np.subtract(through, direct))
    return {
        "case": "server overhead, Score of one prompt",
        "difference": difference,
        "limit": 2.0 if sizes.judged else None,
        "unit": "ms added at the median",
        "value": float(added),
        "direct_seconds": list(direct),
        "set_aside_calls": len(calls) - len(kept),
        "through_seconds": list(through),
    }


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")


def read_cold(path: Path) -> float:
    """Seconds to read a file that is not in the page cache."""
    forget(path)
    start = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
    return time.perf_counter() - start


def forget(path: Path) -> None:
    """Takes a file out of the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def footprint(sizes: Sizes, folder: Path, binaries: Path) -> list[dict[str, Any]]:
    """Idle memory of both processes with one model, and the time to be ready."""
    path = make_model(sizes.start_shape, folder)
    weights = path / "model.safetensors"
    weights_mib = weights.stat().st_size / (1 << 20)
    with Server(binaries) as server:
        name = server.load_model("bench", path)
        reads, starts = [], []
        for _ in range(3):
            reads.append(read_cold(weights))
            forget(weights)
            starts.append(server.seconds_until_resident(name))
        control, worker = server.pids()
        memory = resident_mib(worker), resident_mib(control)
    return [
        {
            "case": "idle memory of the worker",
            "limit": weights_mib * 1.15 + 300 if sizes.judged else None,
            "unit": "MiB",
            "value": memory[0],
        },
        {
            "case": "idle memory of the control plane",
            "limit": 80.0 if sizes.judged else None,
            "unit": "MiB",
            "value": memory[1],
        },
        {
            "case": "start to model resident / reading its weights",
            "limit": 1.5 if sizes.judged else None,
            "unit": "x",
            "value": float(np.median(starts) / np.median(reads)),
            "read_seconds": reads,
            "start_seconds": starts,
        },
    ]
