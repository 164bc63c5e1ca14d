"""Paired measurements of a peer against this software.

A Comparison says how to make inputs and how each side computes them. measure()
runs pairs in the order A B B A, gives both sides of a pair the same new inputs,
checks that their numbers agree, and reports the peer's time divided by ours.
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

# Results of one side: one list of log-probabilities for each item.
Scores = list[list[float]]


@dataclass
class Comparison:
    """A peer and this software on the same work.

    inputs(n) makes the inputs of pair n; no two pairs share a prompt, so that
    no side gains from what it has seen. Warm-up pairs have negative numbers.
    """

    case: str
    peer: str
    inputs: Callable[[int], Any]
    run_peer: Callable[[Any], Scores]
    run_ours: Callable[[Any], Scores]
    tolerance: float  # largest difference of a log-probability, nats
    target: float | None = None  # smallest ratio wanted; None: no target
    sizes: dict[str, Any] = field(default_factory=dict)


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
            "sizes": self.sizes,
            "target": self.target,
            "tolerance": self.tolerance,
            "verdict": self.verdict,
        }


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


def timed(run: Callable[[Any], Scores], inputs: Any) -> tuple[float, Scores]:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        scores = run(inputs)
        return time.perf_counter() - start, scores
    finally:
        gc.enable()


def run_pair(c: Comparison, number: int) -> tuple[float, float, float]:
    """Seconds of the peer, seconds of ours, largest difference."""
    inputs = c.inputs(number)
    sides = [("peer", c.run_peer), ("ours", c.run_ours)]
    if number % 2 == 1:
        sides.reverse()
    seconds, scores = {}, {}
    for name, run in sides:
        seconds[name], scores[name] = timed(run, inputs)
    return (
        seconds["peer"],
        seconds["ours"],
        max_difference(scores["peer"], scores["ours"]),
    )


def measure(c: Comparison, pairs: int, warmup: int = 1) -> Outcome:
    """Stops at the first pair whose results differ: its speed means nothing."""
    outcome = Outcome(
        c.case, c.peer, c.target, c.tolerance, 0.0, [], [], c.sizes
    )
    for number in range(-warmup, pairs):
        peer, ours, difference = run_pair(c, number)
        outcome.max_difference = max(outcome.max_difference, difference)
        if number >= 0 or not outcome.parity:
            outcome.peer_seconds.append(peer)
            outcome.our_seconds.append(ours)
        if not outcome.parity:
            break
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
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def outcome_table(outcomes: list[Outcome]) -> str:
    rows = [["case", "peer", "peer s", "ours s", "median", "p25", "target", "diff", ""]]
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
                o.verdict,
            ]
        )
    return table(rows)


def write_json(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
