"""Probes of all blocks: our batched fits against scikit-learn's, one by one.

Rows are drawn with a spectrum that falls as that of real residual streams; both
sides take the same folds and, as control, the same labels in another order.
scikit-learn works in two processes, as n_jobs=2 has it.
"""

import functools
import json
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from context import Bench, say
from harness import Comparison, Timed
from joblib import Parallel, delayed
from peer_train import forget_peak, memory_mib
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

C = 0.1
# When a fit ends, by its largest derivative: scikit-learn's default, and ours.
LOOSE, TIGHT = 1e-4, 1e-7
FOLDS = 5
JOBS = 2
# Largest difference of a fold's AUC: a fold tests 200 rows, and the control and
# what scikit-learn's own tolerance leaves are that far from the optimum.
TOLERANCE = 2e-3
# With 20 rows in a fold one pair in another order is 0.01.
SMOKE_TOLERANCE = 3e-2


@dataclass(frozen=True)
class Given:
    """Rows of all blocks [blocks, rows, width], and what to tell apart."""

    file: Path
    rows: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    control: np.ndarray  # labels in another order


class ProbeProcess:
    """The fits without server and wire, in a process of its own."""

    def __init__(self, binaries: Path, device: str = "cpu"):
        self._device = device
        program = binaries / "dissonance-bench-probes"
        if not program.exists():
            raise RuntimeError(f"{program} is not built")
        self._process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "ProbeProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _ask(
        self, given: Given, places: list[str], tolerance: float = TIGHT
    ) -> dict[str, Any]:
        request = {
            "rows": str(given.file),
            "places": places,
            "folds": given.folds.tolist(),
            "labels": given.labels.tolist(),
            "permutations": 1,
            "tolerance": tolerance,
            "device": self._device,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("dissonance-bench-probes ended; see its message")
        return json.loads(line)

    def with_control(self, given: Given) -> Given:
        shuffled = self._ask(given, [])["shuffled"][0]
        return replace(given, control=np.array(shuffled, int))

    def fit(self, given: Given, tolerance: float = TIGHT) -> Timed:
        places = [str(block) for block in range(len(given.rows))]
        answer = self._ask(given, places, tolerance)
        return Timed(answer["seconds"], (answer["aucs"], answer["dummy_aucs"]))

    def peak_mib(self, given: Given) -> float:
        """Most memory beside the rows while it fits them."""
        pid = str(self._process.pid)
        self.fit(given)
        forget_peak(pid)
        self.fit(given)
        return memory_mib("VmHWM", pid) - given.rows.nbytes / 2**20


def draw(folder: Path, pair: int, shape: tuple[int, int, int]) -> Given:
    blocks, count, width = shape
    rng = np.random.default_rng([11, pair + 1000])
    labels = np.arange(count) % 2
    rows = np.empty(shape, "f4")
    for block in range(blocks):
        falling = 1.0 / np.sqrt(1.0 + np.arange(width))
        own = rng.normal(size=(count, width)) * falling
        own[:, :8] += labels[:, None] * rng.normal(size=8) * 0.3
        turned = np.roll(own, block, axis=1) + np.roll(own, 7, axis=1)
        rows[block] = 3.0 * turned + rng.normal(size=width)
    folds = np.empty(count, int)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=pair % 2**31)
    for fold, (_, test) in enumerate(split.split(rows[0], labels)):
        folds[test] = fold
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"probe-rows-{blocks}-{count}-{width}.safetensors"
    save_file({str(b): rows[b] for b in range(blocks)}, file)
    return Given(file, rows, labels, folds, labels)


def fold_auc(
    rows: np.ndarray,
    labels: np.ndarray,
    tested: np.ndarray,
    tolerance: float,
) -> float:
    scaler = StandardScaler().fit(rows[~tested])
    fit = LogisticRegression(C=C, max_iter=1000, tol=tolerance)
    fit.fit(scaler.transform(rows[~tested]), labels[~tested])
    scores = fit.decision_function(scaler.transform(rows[tested]))
    return roc_auc_score(labels[tested], scores)


def run_peer(workers: Parallel, tolerance: float, given: Given) -> Timed:
    start = time.perf_counter()
    aucs = workers(
        delayed(fold_auc)(rows, labels, given.folds == fold, tolerance)
        for labels in (given.labels, given.control)
        for rows in given.rows
        for fold in range(FOLDS)
    )
    seconds = time.perf_counter() - start
    own, control = np.reshape(aucs, (2, len(given.rows), FOLDS))
    return Timed(seconds, (own.tolist(), control.mean(axis=1).tolist()))


def largest_difference(_: Given, peer: tuple, ours: tuple) -> float:
    return max(
        float(np.max(np.abs(np.subtract(theirs, own))))
        for theirs, own in zip(peer, ours)
    )


def compare(
    bench: Bench,
    case: str,
    shape: tuple[int, int, int],
    tolerance: float,
    target: float,
    device: str = "cpu",
) -> None:
    with (
        Parallel(n_jobs=JOBS) as workers,
        ProbeProcess(bench.binaries, device) as ours,
    ):
        bench.compare(
            Comparison(
                case=f"{case}, to {tolerance:g}",
                peer="scikit-learn, n_jobs=2",
                inputs=lambda pair: ours.with_control(
                    draw(bench.models, pair, shape)
                ),
                run_peer=functools.partial(run_peer, workers, tolerance),
                run_ours=functools.partial(ours.fit, tolerance=tolerance),
                tolerance=bench.pick(TOLERANCE, SMOKE_TOLERANCE),
                target=target,
                difference=largest_difference,
                sizes={
                    "blocks": shape[0],
                    "rows": shape[1],
                    "width": shape[2],
                },
            )
        )


def probes(bench: Bench) -> None:
    shape = bench.pick((13, 1000, 768), (3, 100, 32))
    for tolerance in (LOOSE, TIGHT):
        compare(bench, "probes, 5 folds and control", shape, tolerance, 3.0)


def gpu_probes(bench: Bench) -> None:
    """A large model's probes on a GPU; the peer has the processor."""
    compare(
        bench,
        "GPU: probes, 5 folds and control",
        bench.pick((33, 2000, 4096), (3, 100, 32)),
        LOOSE,
        50.0,
        bench.pick("cuda:0", "cpu"),
    )


def probe_sizes(bench: Bench) -> None:
    """Time and memory of a large model's probes, and against the rows."""
    shape = bench.pick((33, 2000, 4096), (3, 100, 64))
    with ProbeProcess(bench.binaries) as ours:
        given = draw(bench.models, 0, shape)
        say("probes of a large model ...")
        bench.report(
            "probes of a large model",
            ours.fit(given).seconds,
            "s",
            blocks=shape[0],
            rows=shape[1],
            width=shape[2],
            peak_mib=round(ours.peak_mib(given)),
        )
        for rows in bench.pick((1000, 2000, 4000, 8000), (50, 100)):
            given = draw(bench.models, 0, bench.pick((4, rows, 768), (2, rows, 16)))
            ours.fit(given)
            times = [ours.fit(given).seconds for _ in range(3)]
            bench.report(
                "probes against rows", float(np.median(times)), "s", rows=rows
            )
