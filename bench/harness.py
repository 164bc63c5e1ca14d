"""Paired measurements of a peer against this software.

A Comparison says how to make inputs and how each side computes them. measure()
runs pairs in the order A B B A, gives both sides of a pair the same new inputs,
checks that their numbers agree, and reports the peer's time divided by ours.

On a virtual machine the host takes processor time away for other tenants. Pairs
that lost more than STOLEN_LIMIT of it are set aside and measured again.
"""

import gc
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# Share of the processors' time.
STOLEN_LIMIT = 0.03
# Pairs that may be run for each that is wanted.
ATTEMPTS = 3

# Results of one side: one list of numbers, mostly log-probabilities, for each
# item.
Scores = list[list[float]]


@dataclass(frozen=True)
class Timed:
    """What a side returns that has timed itself, in another process."""

    seconds: float
    results: Any


def max_difference(a: Scores, b: Scores) -> float:
    """Largest absolute difference; infinite where shapes differ or a number is
    not finite, so that a NaN never passes for parity."""
    if [len(row) for row in a] != [len(row) for row in b]:
        return float("inf")
    flat_a = np.array([x for row in a for x in row], dtype=np.float64)
    flat_b = np.array([x for row in b for x in row], dtype=np.float64)
    if not (np.isfinite(flat_a).all() and np.isfinite(flat_b).all()):
        return float("inf")
    return float(np.abs(flat_a - flat_b).max(initial=0.0))


@dataclass
class Comparison:
    """A peer and this software on the same work.

    inputs(n) makes the inputs of pair n; no two pairs share a prompt, so that
    no side gains from what it has seen. Warm-up pairs have negative numbers.
    """

    case: str
    peer: str
    inputs: Callable[[int], Any]
    # Results, or Timed ones.
    run_peer: Callable[[Any], Any]
    run_ours: Callable[[Any], Any]
    tolerance: float  # largest difference, mostly nats
    target: float | None = None  # smallest ratio wanted; None: no target
    sizes: dict[str, Any] = field(default_factory=dict)
    # How far our results are from the peer's: of inputs, peer's, ours. Not
    # timed.
    difference: Callable[[Any, Any, Any], float] = lambda _, peer, ours: (
        max_difference(peer, ours)
    )


@dataclass
class Outcome:
    case: str
    peer: str
    target: float | None
    tolerance: float
    max_difference: float
    peer_seconds: list[float]
    our_seconds: list[float]
    sizes: dict[str, Any]
    stolen: list[float] = field(default_factory=list)  # shares, of each pair
    set_aside: int = 0  # pairs

    @property
    def ratios(self) -> list[float]:
        return [p / o for p, o in zip(self.peer_seconds, self.our_seconds)]

    @property
    def parity(self) -> bool:
        return self.max_difference <= self.tolerance

    def ratio(self, percentile: float) -> float:
        return float(np.percentile(self.ratios, percentile))

    @property
    def verdict(self) -> str:
        if not self.parity:
            return "DIFFERENT RESULTS"
        if self.target is None:
            return "no target"
        return "met" if self.ratio(25) >= self.target else "missed"

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "max_difference": self.max_difference,
            "our_seconds": self.our_seconds,
            "peer": self.peer,
            "peer_seconds": self.peer_seconds,
            "ratio_median": self.ratio(50) if self.parity else None,
            "ratio_p25": self.ratio(25) if self.parity else None,
            "ratios": self.ratios if self.parity else None,
            "set_aside_pairs": self.set_aside,
            "sizes": self.sizes,
            "stolen_shares": self.stolen,
            "target": self.target,
            "tolerance": self.tolerance,
            "verdict": self.verdict,
        }


def stolen_seconds() -> float:
    """Processor time since boot that the host gave to others; 0 if unknown."""
    try:
        times = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    return int(times[8]) / os.sysconf("SC_CLK_TCK") if len(times) > 8 else 0.0


@dataclass(frozen=True)
class Timing:
    seconds: float
    stolen: float  # share of the processors' time


def timed(run: Callable[[Any], Any], inputs: Any) -> tuple[Timing, Any]:
    gc.collect()
    gc.disable()
    try:
        stolen = stolen_seconds()
        start = time.perf_counter()
        results = run(inputs)
        elapsed = time.perf_counter() - start
        processors = os.cpu_count() or 1
        share = (stolen_seconds() - stolen) / (elapsed * processors)
    finally:
        gc.enable()
    if isinstance(results, Timed):
        return Timing(results.seconds, share), results.results
    return Timing(elapsed, share), results


@dataclass(frozen=True)
class Pair:
    peer: Timing
    ours: Timing
    difference: float

    @property
    def stolen(self) -> float:
        return max(self.peer.stolen, self.ours.stolen)


def run_pair(c: Comparison, number: int, peer_first: bool) -> Pair:
    inputs = c.inputs(number)
    sides = [("peer", c.run_peer), ("ours", c.run_ours)]
    if not peer_first:
        sides.reverse()
    timings, results = {}, {}
    for name, run in sides:
        timings[name], results[name] = timed(run, inputs)
    return Pair(
        timings["peer"],
        timings["ours"],
        c.difference(inputs, results["peer"], results["ours"]),
    )


def measure(c: Comparison, pairs: int, warmup: int = 1) -> Outcome:
    """Stops at the first pair whose results differ: its speed means nothing.

    Where too few pairs are calm after ATTEMPTS times as many, those that lost
    the least are taken. Their ratios play no part in the choice.
    """
    outcome = Outcome(
        c.case, c.peer, c.target, c.tolerance, 0.0, [], [], c.sizes
    )
    run: list[Pair] = []
    calm = 0
    for number in range(-warmup, ATTEMPTS * pairs):
        pair = run_pair(c, number, peer_first=calm % 2 == 0)
        outcome.max_difference = max(outcome.max_difference, pair.difference)
        if number >= 0 or not outcome.parity:
            run.append(pair)
            calm += pair.stolen <= STOLEN_LIMIT
        if calm == pairs or not outcome.parity:
            break
    kept = sorted(run, key=lambda pair: pair.stolen)[:pairs]
    outcome.peer_seconds = [pair.peer.seconds for pair in kept]
    outcome.our_seconds = [pair.ours.seconds for pair in kept]
    outcome.stolen = [pair.stolen for pair in kept]
    outcome.set_aside = len(run) - len(kept)
    return outcome


def pin(threads: int) -> list[int]:
    """Pins this process, and what it starts, to `threads` of its processors."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < threads:
        raise SystemExit(
            f"bench: {threads} threads asked, {len(allowed)} processors here"
        )
    os.sched_setaffinity(0, allowed[:threads])
    return allowed[:threads]


def machine() -> dict[str, Any]:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
        "processors": len(os.sched_getaffinity(0)),
    }


def table(rows: list[list[str]]) -> str:
    """Aligned text; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths)
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def outcome_table(outcomes: list[Outcome]) -> str:
    rows = [
        [
            "case",
            "peer",
            "peer s",
            "ours s",
            "median",
            "p25",
            "target",
            "diff",
            "stolen",
            "",
        ]
    ]
    for o in outcomes:
        ratios = [f"{o.ratio(q):.2f}x" if o.parity else "-" for q in (50, 25)]
        rows.append(
            [
                o.case,
                o.peer,
                f"{np.median(o.peer_seconds):.3f}",
                f"{np.median(o.our_seconds):.3f}",
                *ratios,
                "-" if o.target is None else f"{o.target:g}x",
                f"{o.max_difference:.1e}",
                f"{100 * max(o.stolen, default=0.0):.1f} %",
                o.verdict,
            ]
        )
    return table(rows)


def write_json(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
