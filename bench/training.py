"""Training a LoRA adapter: a fine_tune job of the server against PEFT.

Both begin with the same adapter and take the same sixteen documents at each
step, so that any order within a step gives the same loss. The first step, in
which memory is taken and kernels are chosen, is not timed on either side.
"""

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from context import Bench
from harness import Comparison, Timed
from make_model import (
    BASE,
    SMALL_WORDS,
    SMOL_30M_WORDS,
    make_adapter,
    make_model,
    parameter_count,
)
from peer_train import forget_peak, memory_mib
from transformers import AutoTokenizer

RANK = 16
DOCUMENTS = 16
MICRO_BATCH = 4
LEARNING_RATE = 2e-4
MAX_GRAD_NORM = 1.0
# Largest difference of a step's loss, as a share of it.
TOLERANCE = 1e-4
CORPUS = BASE.parent / "docs.jsonl"


@dataclass(frozen=True)
class Documents:
    """Texts, and what they are to the model."""

    texts: list[str]
    tokens: list[list[int]]


@dataclass
class Side:
    """What the runs of one side took."""

    # Most memory beside what was there before training.
    peak_mib: list[float] = field(default_factory=list)
    tokens_per_second: list[float] = field(default_factory=list)

    def timed(
        self, given: Documents, seconds: list[float], losses: list[float]
    ) -> Timed:
        """Without the first step."""
        counted = sum(seconds[1:])
        tokens = sum(map(len, given.tokens)) * (len(seconds) - 1)
        self.tokens_per_second.append(tokens / counted)
        return Timed(counted, losses)


@functools.cache
def words() -> list[str]:
    lines = CORPUS.read_text().splitlines()
    return " ".join(json.loads(line)["content"] for line in lines).split()


def lengths(
    rng: np.random.Generator, ragged: bool, most: int, least: int
) -> list[int]:
    """In tokens. Ragged: log-normal, as lengths of real texts are."""
    if not ragged:
        return [most] * DOCUMENTS
    drawn = rng.lognormal(np.log(most / 4), 0.8, DOCUMENTS)
    return np.clip(drawn, least, most).astype(int).tolist()


def documents(pair: int, ragged: bool, most: int, least: int) -> Documents:
    """Of at most `most` tokens, at which the server cuts them too."""
    rng = np.random.default_rng([7, pair + 1000])
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    texts, tokens = [], []
    for length in lengths(rng, ragged, most, least):
        start = int(rng.integers(0, len(words()) - most))
        # A word is a token at least; only where all are to be equal is one cut.
        some = words()[start : start + length]
        while ragged and len(ids_of(tokenizer, some)) + 2 > length:
            some.pop()
        texts.append(" ".join(some))
        tokens.append([begin, *ids_of(tokenizer, some), end][:most])
    return Documents(texts, tokens)


def ids_of(tokenizer: Any, some: list[str]) -> list[int]:
    return tokenizer(" ".join(some), add_special_tokens=False)["input_ids"]


def run_peer(
    path: Path, adapter: Path, steps: int, side: Side, given: Documents
) -> Timed:
    request = {
        "adapter": str(adapter),
        "documents": given.tokens,
        "learning_rate": LEARNING_RATE,
        "max_grad_norm": MAX_GRAD_NORM,
        "micro_batch_size": MICRO_BATCH,
        "model": str(path),
        "steps": steps,
        "threads": len(os.sched_getaffinity(0)),
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "peer_train.py")],
        input=json.dumps(request),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    answer = json.loads(done.stdout)
    side.peak_mib.append(answer["peak_mib"])
    return side.timed(given, answer["seconds"], answer["losses"])


def run_ours(
    bench: Bench,
    names: tuple[str, str],
    options: dict[str, int],
    side: Side,
    given: Documents,
) -> Timed:
    """In the time that the worker gave to the steps, as it says itself."""
    _, worker = bench.server.pids()
    before = memory_mib("VmRSS", str(worker))
    forget_peak(str(worker))
    trained = bench.server.fine_tune(
        *names,
        given.texts,
        epoch_count=options["steps"],
        max_length_tokens=options["most"],
        micro_batch_size=MICRO_BATCH,
        accumulation_count=DOCUMENTS // MICRO_BATCH,
        learning_rate=LEARNING_RATE,
        max_grad_norm=MAX_GRAD_NORM,
    )
    side.peak_mib.append(memory_mib("VmHWM", str(worker)) - before)
    tokens = sum(map(len, given.tokens)) * options["steps"]
    if trained.tokens != tokens:
        raise RuntimeError(
            f"the server trained on {trained.tokens} tokens, not {tokens}"
        )
    return side.timed(given, trained.seconds, trained.losses)


def largest_share(_: Documents, peer: list[float], ours: list[float]) -> float:
    if len(peer) != len(ours) or not np.isfinite(ours).all():
        return float("inf")
    return float(np.max(np.abs(np.subtract(peer, ours)) / np.abs(peer)))


def train(bench: Bench, ragged: bool) -> None:
    shape = bench.pick(SMOL_30M_WORDS, SMALL_WORDS)
    most = bench.pick(512 if ragged else 256, 32)
    least = bench.pick(20, 8)
    steps = bench.pick(4, 2)
    path = make_model(shape, bench.models)
    adapter = make_adapter(path, 0, RANK)
    model = bench.server.load_model(f"train-{shape.name}", path)
    name = bench.server.register_adapter(model, "begin", adapter)
    peer, ours = Side(), Side()
    case = f"training, {'ragged' if ragged else 'equal'} lengths"
    bench.compare(
        Comparison(
            case=case,
            peer="PEFT, padded batches",
            inputs=lambda pair: documents(pair, ragged, most, least),
            run_peer=functools.partial(run_peer, path, adapter, steps, peer),
            run_ours=functools.partial(
                run_ours,
                bench,
                (model, name),
                {"steps": steps, "most": most},
                ours,
            ),
            tolerance=TOLERANCE,
            target=1.4 if ragged else 1.0,
            difference=largest_share,
            sizes={
                "documents_per_step": DOCUMENTS,
                "document_tokens": [least if ragged else most, most],
                "micro_batch": MICRO_BATCH,
                "parameters": parameter_count(path),
                "rank": RANK,
                "steps": steps,
            },
        )
    )
    for label, side in (("", ours), (", PEFT", peer)):
        bench.report(
            f"speed of {case}{label}",
            float(np.median(side.tokens_per_second)),
            "tokens/s at the median",
        )
        bench.report(
            f"memory of {case}{label}",
            max(side.peak_mib),
            "MiB beside the loaded model",
        )


def train_ragged(bench: Bench) -> None:
    train(bench, ragged=True)


def train_equal(bench: Bench) -> None:
    train(bench, ragged=False)
