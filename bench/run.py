"""Measures this software against its peers; see docs/benchmarks.md.

    ./run bench                      all cases
    ./run bench --smoke              small sizes, asserts parity only
    ./run bench --case mcq --pairs 9

Exits 1 if a result differs from a peer's, never for being slow.
"""

import argparse
import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CASES = ["mcq", "lora", "overhead", "footprint"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--smoke", action="store_true", help="small sizes, parity only")
    parser.add_argument(
        "--case", action="append", choices=CASES, help="only this case; repeatable"
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
        "--out", type=Path, default=ROOT / "build/bench/results.json", help="JSON"
    )
    parser.add_argument(
        "--peers-only",
        action="store_true",
        help="no server: compares the peers with the first of them",
    )
    return parser.parse_args()


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in ("torch", "transformers", "peft", "numpy", "grpcio"):
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


def run_cases(arguments: argparse.Namespace, wanted: list[str]) -> tuple[list, list]:
    """Outcomes of comparisons, and values with limits."""
    import cases
    from harness import measure

    sizes = cases.SMOKE if arguments.smoke else cases.FULL
    pairs = arguments.pairs or (2 if arguments.smoke else 10)
    makers = {"mcq": cases.mcq_comparisons, "lora": cases.lora_comparisons}
    outcomes, values = [], []

    def compare(server: Any) -> None:
        for case in wanted:
            if case not in makers:
                continue
            for comparison in makers[case](sizes, arguments.models, server):
                say(f"{comparison.case}: {comparison.peer} ...")
                outcomes.append(measure(comparison, pairs))

    if arguments.peers_only:
        compare(None)
        return outcomes, values
    with cases.Server(arguments.binaries) as server:
        compare(server)
        if "overhead" in wanted:
            say("server overhead ...")
            values.append(
                cases.server_overhead(
                    sizes, arguments.models, server, arguments.binaries
                )
            )
    if "footprint" in wanted:
        say("memory and start ...")
        values += cases.footprint(sizes, arguments.models, arguments.binaries)
    return outcomes, values


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def main() -> int:
    arguments = parse_arguments()
    # So that the server is stopped however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Before torch starts its threads.
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import harness

    processors = harness.pin(arguments.threads)
    import torch
    import transformers

    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    before = harness.machine()
    outcomes, values = run_cases(arguments, arguments.case or CASES)

    if outcomes:
        print(harness.outcome_table(outcomes))
    if values:
        print("\n" + limit_table(values))
    harness.write_json(
        arguments.out,
        {
            "comparisons": [outcome.to_json() for outcome in outcomes],
            "machine": before,
            "pinned_to": processors,
            "smoke": arguments.smoke,
            "threads": arguments.threads,
            "values": values,
            "versions": versions(),
        },
    )
    say(f"written to {arguments.out}")
    different = [o for o in outcomes if not o.parity]
    different += [v for v in values if v.get("difference", 0.0) > 1e-3]
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
