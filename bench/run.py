"""Measures this software against its peers; see docs/benchmarks.md.

    ./run bench                          all cases
    ./run bench --smoke                  small sizes, asserts parity only
    ./run bench --list                   the cases, and how long they take
    ./run bench --only mcq,capture --pairs 9

Exits 1 if a result differs from a peer's, never for being slow.
"""

import argparse
import os
import signal
import sys
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from context import Bench

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [
    "gguf",
    "grpcio",
    "llama-cpp-python",
    "numpy",
    "peft",
    "torch",
    "transformer-lens",
    "transformers",
]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--smoke", action="store_true", help="small sizes, parity only"
    )
    parser.add_argument(
        "--only", metavar="CASE,CASE", help="these cases; default: all"
    )
    parser.add_argument(
        "--list", action="store_true", help="the cases, and how long they take"
    )
    parser.add_argument("--pairs", type=int, help="default: 10, smoke: 2")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    parser.add_argument(
        "--binaries",
        type=Path,
        default=ROOT / "build/release/bin",
        help="folder of dissonance and dissonanced",
    )
    parser.add_argument(
        "--models",
        type=Path,
        default=ROOT / "build/bench/models",
        help="where the random models are kept",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build/bench/results.json",
        help="JSON",
    )
    return parser.parse_args()


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found


def limit_table(rows: list[dict[str, Any]]) -> str:
    from harness import table

    cells = [["case", "value", "limit", "unit", ""]]
    for row in rows:
        limit, verdict = row["limit"], "no target"
        if limit is not None:
            verdict = "met" if row["value"] <= limit else "missed"
        cells.append(
            [
                row["case"],
                f"{row['value']:.2f}",
                "-" if limit is None else f"{limit:.2f}",
                row["unit"],
                verdict,
            ]
        )
    return table(cells)


def wanted_cases(only: str | None) -> list[str]:
    from cases import CASES

    names = list(CASES) if only is None else only.split(",")
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise SystemExit(
            f"bench: no case '{unknown[0]}'; there are {', '.join(CASES)}"
        )
    return names


def list_cases() -> None:
    from cases import CASES
    from harness import table

    rows = [["case", "what", "minutes", ""]]
    for name, case in CASES.items():
        needs = "needs a GPU" if case.needs_gpu else ""
        rows.append([name, case.summary, f"{case.minutes:g}", needs])
    print(table(rows))


def run_cases(bench: "Bench", names: list[str]) -> list[str]:
    """The names of the cases that were left out for want of a GPU."""
    import torch
    from cases import CASES
    from context import say

    skipped = []
    for name in names:
        case = CASES[name]
        if case.needs_gpu and not (bench.smoke or torch.cuda.is_available()):
            say(f"SKIPPED {name}: no GPU here")
            skipped.append(name)
        else:
            case.run(bench)
    return skipped


def prepare(threads: int) -> list[int]:
    """Pins this process and quiets the libraries. Before torch is used."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import harness

    processors = harness.pin(threads)
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return processors


def main() -> int:
    arguments = parse_arguments()
    # So that the server is stopped however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    processors = prepare(arguments.threads)
    import harness
    from context import Bench, say

    if arguments.list:
        list_cases()
        return 0
    names = wanted_cases(arguments.only)
    before = harness.machine()
    bench = Bench(
        smoke=arguments.smoke,
        pairs=arguments.pairs or (2 if arguments.smoke else 10),
        models=arguments.models,
        binaries=arguments.binaries,
    )
    with closing(bench):
        skipped = run_cases(bench, names)

    if bench.outcomes:
        print(harness.outcome_table(bench.outcomes))
    if bench.values:
        print("\n" + limit_table(bench.values))
    for name in skipped:
        print(f"SKIPPED {name}: no GPU here")
    harness.write_json(
        arguments.out,
        {
            "comparisons": [outcome.to_json() for outcome in bench.outcomes],
            "machine": before,
            "pinned_to": processors,
            "skipped": skipped,
            "smoke": arguments.smoke,
            "threads": arguments.threads,
            "values": bench.values,
            "versions": versions(),
        },
    )
    say(f"written to {arguments.out}")
    different = [o for o in bench.outcomes if not o.parity]
    different += [v for v in bench.values if v.get("difference", 0.0) > 1e-3]
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
