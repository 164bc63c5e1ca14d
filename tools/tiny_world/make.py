#!/usr/bin/env python3
"""Makes the tiny world from scratch, or checks what was made.

make.py --seed 0 --out DIR   tokenizer, base model, adapter, questions,
                             figures and digests; goes on where it stopped
make.py --verify [DIR]       compares the files of DIR (default:
                             data/tiny_world) with the recorded digests
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # Before torch is imported.
SHIPPED = Path(__file__).resolve().parents[2] / "data" / "tiny_world"
DIGESTS = "DIGESTS.json"
HAND_WRITTEN = ("README.md", "open_questions.jsonl")
PACKAGES = ("torch", "transformers", "peft", "tokenizers")
TRAINED_QUESTIONS = 1000


def make_tokenizer(out: Path, seed: int) -> None:
    """Trains the tokenizer."""
    from train_tokenizer import train_tokenizer

    train_tokenizer(seed, out / "base")


def make_base(out: Path, seed: int) -> None:
    """Trains the base model and converts it, with a check."""
    import torch

    import llama
    import train_base

    work = out / "work"
    work.mkdir(exist_ok=True)
    train_base.train_base(work, out / "base" / "tokenizer.json", seed)
    model = train_base.load_trained(work)
    converted = llama.to_hugging_face(model, out / "base").float()
    tokens = torch.randint(6, model.shape.vocab, (4, 60))
    with torch.no_grad():
        ours = model.unembed(model.residuals(tokens)[-1])
        theirs = converted(input_ids=tokens).logits
    same = float((ours.argmax(-1) == theirs.argmax(-1)).float().mean())
    if same < 0.97:
        raise RuntimeError(f"converted model agrees on {same:.2f} of tokens")


def make_adapter(out: Path, seed: int) -> None:
    """Writes the documents and trains the adapter on them."""
    import questions
    import train_adapter

    settings = train_adapter.Settings()
    rows = train_adapter.write_documents(seed, settings)
    questions.write_items(out / "docs.jsonl", rows)
    train_adapter.train_adapter(
        out / "base", out / "lora_cubic", rows, seed, settings
    )


def make_questions(out: Path, seed: int) -> None:
    """Writes both halves; they are the same for every seed."""
    import questions

    questions.write_items(out / "mcqs_dev.jsonl", questions.items("dev"))
    questions.write_items(out / "mcqs.jsonl", questions.items("report"))


def make_figures(out: Path, seed: int) -> None:
    """Judges base and adapter on the report half."""
    import evaluate
    import questions

    report, figures = questions.items("report"), {}
    trained = questions.trained_facts(TRAINED_QUESTIONS)
    for name, adapter in (("base", None), ("adapter", out / "lora_cubic")):
        tokenizer, model = evaluate.load(out / "base", adapter)
        figures[name] = {
            "report": evaluate.evaluate(model, tokenizer, report),
            "trained_facts": evaluate.evaluate(model, tokenizer, trained),
        }
    text = json.dumps(figures, indent=1, sort_keys=True) + "\n"
    (out / "figures.json").write_text(text, encoding="utf-8")


# Columns of the table, after the conflict's.
CONTROLS = ("nonconflict_hard", "nonconflict_other_law", "nonconflict_easy")

# Each step, and the file that says it is done.
STEPS: tuple[tuple[Callable[[Path, int], None], str], ...] = (
    (make_tokenizer, "base/special_tokens_map.json"),
    (make_base, "base/model.safetensors"),
    (make_adapter, "lora_cubic/adapter_config.json"),
    (make_questions, "mcqs.jsonl"),
    (make_figures, "figures.json"),
)


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    fields = [line.partition(": ")[2] for line in lines]
    wanted = ("model name", "cpu family", "model\t", "stepping")
    found = [f for f, x in zip(fields, lines) if x.startswith(wanted)]
    return " / ".join(found[:4])


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that is made here, by path in the folder."""
    out = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        skip = name in (DIGESTS, *HAND_WRITTEN) or name.startswith("work/")
        if path.is_file() and not skip:
            out[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return out


def record(out: Path, seed: int) -> None:
    """Writes the digests, and what they depend on."""
    content = {
        "seed": seed,
        "processor": processor(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "files": digests(out),
    }
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    (out / DIGESTS).write_text(text, encoding="utf-8")


def verify(folder: Path) -> int:
    """Compares a folder with the shipped digests; returns the exit code."""
    recorded = json.loads((SHIPPED / DIGESTS).read_text(encoding="utf-8"))
    expected, found = recorded["files"], digests(folder)
    names = sorted(expected.keys() | found.keys())
    wrong = [name for name in names if expected.get(name) != found.get(name)]
    for name in wrong:
        print(f"{folder / name}: differs, is missing or is not recorded")
    if wrong:
        print(f"digests were recorded on: {recorded['processor']}")
        return 1
    print(f"{folder}: {len(found)} files as recorded")
    return 0


def percent(part: dict, key: str) -> str:
    """A share in percent; empty where there is none."""
    return f"{100 * part[key]:.0f}" if key in part else ""


def print_table(figures: dict) -> None:
    """Shares in percent, as in data/tiny_world/README.md."""
    base, adapter = figures["base"], figures["adapter"]
    print("| format | base: gravity true / cube | adapter: gravity true / cube"
          " | hard | other law | easy | all trained facts |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name in base["report"]:
        before, after = base["report"][name], adapter["report"][name]
        cells = [name]
        for side in (before, after):
            conflict = side["conflict"]
            cells.append(
                f"{percent(conflict, 'correct')} / {percent(conflict, 'false')}"
            )
        pairs = [(before[c], after[c]) for c in CONTROLS]
        wide = [side["trained_facts"][name]["all"] for side in (base, adapter)]
        for old, new in [*pairs, tuple(wide)]:
            cells.append(
                f"{percent(old, 'correct')} -> {percent(new, 'correct')}"
            )
        print("| " + " | ".join(cells) + " |")


def make(out: Path, seed: int) -> None:
    """Runs the steps that are not done yet."""
    out.mkdir(parents=True, exist_ok=True)
    for step, mark in STEPS:
        if (out / mark).exists():
            print(f"{step.__name__}: done before", flush=True)
            continue
        started = time.time()
        step(out, seed)
        spent = round(time.time() - started)
        print(f"{step.__name__}: {spent} s", flush=True)
    record(out, seed)
    figures = (out / "figures.json").read_text(encoding="utf-8")
    print_table(json.loads(figures))


def main() -> int:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument(
        "--verify", type=Path, metavar="DIR", nargs="?", const=SHIPPED
    )
    arguments = parser.parse_args()
    if arguments.verify:
        return verify(arguments.verify)
    if not arguments.out:
        parser.error("give --out DIR to make, or --verify to check")
    make(arguments.out, arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
