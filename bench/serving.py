"""What the server costs: time it adds, memory, the time to be ready."""

import os
import time
from pathlib import Path

import numpy as np
from context import Bench
from engine import EngineProcess
from harness import ATTEMPTS, max_difference, stolen_seconds
from items import mcq_items
from make_model import LARGEST, SMALL, make_model
from ours import Server


def overhead(bench: Bench) -> None:
    """What client, control plane and worker add to a Score of one prompt.

    On the tiny model, so that the engine's own time is small beside what is
    measured. Calls alternate, in the order A B B A; those during which the host
    took processor time away are made again, as measure() does.
    """
    wanted = bench.pick(60, 8)
    path = make_model(SMALL, bench.models)
    name = bench.server.load_model("overhead", path)
    calls: list[tuple[float, float, float]] = []  # stolen, direct, through
    difference, calm = 0.0, 0
    with EngineProcess(bench.binaries, path) as engine:
        for number in range(-5, ATTEMPTS * wanted):
            items = mcq_items(number, 1, (40, 60), SMALL.vocab)
            seconds, scores = {}, {}
            stolen = stolen_seconds()
            for side in ("direct", "through")[:: -1 if number % 2 else 1]:
                start = time.perf_counter()
                if side == "direct":
                    answer = engine.score(items)
                    seconds[side], scores[side] = answer.seconds, answer.results
                else:
                    scores[side] = bench.server.score(name, items)
                    seconds[side] = time.perf_counter() - start
            difference = max(
                difference, max_difference(scores["direct"], scores["through"])
            )
            if number < 0:
                continue
            stolen = stolen_seconds() - stolen
            calls.append((stolen, seconds["direct"], seconds["through"]))
            calm += stolen == 0
            if calm == wanted:
                break
    kept = sorted(calls, key=lambda call: call[0])[:wanted]
    _, direct, through = zip(*kept)
    bench.report(
        "server overhead, Score of one prompt",
        float(1e3 * np.median(np.subtract(through, direct))),
        "ms added at the median",
        limit=2.0,
        difference=difference,
        direct_seconds=list(direct),
        set_aside_calls=len(calls) - len(kept),
        through_seconds=list(through),
    )


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


def footprint(bench: Bench) -> None:
    """Idle memory of both processes with one model, and the time to be ready.

    The model is large enough that reading it takes longer than starting two
    processes.
    """
    path = make_model(bench.pick(LARGEST, SMALL), bench.models)
    weights = path / "model.safetensors"
    weights_mib = weights.stat().st_size / (1 << 20)
    with Server(bench.binaries) as server:
        name = server.load_model("bench", path)
        reads, starts = [], []
        for _ in range(3):
            reads.append(read_cold(weights))
            forget(weights)
            starts.append(server.seconds_until_resident(name))
        control, worker = server.pids()
        memory = resident_mib(worker), resident_mib(control)
    limit = weights_mib * 1.15 + 300
    bench.report("idle memory of the worker", memory[0], "MiB", limit)
    bench.report("idle memory of the control plane", memory[1], "MiB", 80.0)
    bench.report(
        "start to model resident / reading its weights",
        float(np.median(starts) / np.median(reads)),
        "x",
        limit=1.5,
        read_seconds=reads,
        start_seconds=starts,
    )
