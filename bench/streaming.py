"""Streams of activations: how fast they come, and whom they keep waiting."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from context import Bench, say
from harness import Comparison, Timed
from items import prompts
from make_model import (
    SMALL,
    SMALL_WORDS,
    SMOL_30M,
    WORDS,
    Shape,
    make_adapter,
    make_model,
)
from ours import ROOT, Server
from scoring import RANK

NUMBERS = itertools.count()
SITES = [
    "resid_pre",
    "q",
    "k",
    "v",
    "z",
    "attn_out",
    "resid_mid",
    "mlp_hidden",
    "mlp_out",
    "resid_post",
]


def row_bytes(shape: Shape) -> int:
    """Of one position: all SITES of all blocks, float32."""
    kv_width = shape.hidden // shape.heads * shape.kv_heads
    return (
        4
        * shape.layers
        * (7 * shape.hidden + 2 * kv_width + shape.intermediate)
    )


def stream(bench: Bench) -> None:
    """Loopback gRPC beside the same bytes through TCP."""
    shape = bench.pick(SMOL_30M, SMALL)
    count, length = bench.pick((16, 128), (4, 16))
    size = count * length * row_bytes(shape)
    with Server(bench.binaries, tcp=True) as server:
        name = server.load_model("bench", make_model(shape, bench.models))

        def inputs(pair: int) -> list[list[int]]:
            return prompts(pair, count, (length, length), shape.vocab)

        def stored_inputs(pair: int) -> list[list[int]]:
            ids = inputs(pair)
            server.stream(name, ids, SITES)
            return ids

        def ours(ids: list[list[int]]) -> Timed:
            read = server.stream(name, ids, SITES)
            return Timed(
                read["seconds"], [[read["bytes"], float(read["from_store"])]]
            )

        def theirs(stored: bool) -> Timed:
            read = server.stream_tcp(size)
            return Timed(read["seconds"], [[read["bytes"], float(stored)]])

        for case, make, stored in (
            ("stream of activations, computed", inputs, False),
            ("stream of activations, kept", stored_inputs, True),
        ):
            bench.compare(
                Comparison(
                    case=case,
                    peer="TCP",
                    inputs=make,
                    run_peer=lambda _: theirs(stored),
                    run_ours=ours,
                    tolerance=0.0,
                    target=0.3,
                    sizes={"bytes": size, "positions": count * length},
                )
            )


@contextmanager
def beside(*works: Callable[[int], Any]) -> Iterator[None]:
    """Runs the works side by side meanwhile, each again and again, with a
    number that was not given before."""
    over = threading.Event()
    errors: list[Exception] = []

    def repeat(work: Callable[[int], Any]) -> None:
        try:
            while not over.is_set():
                work(next(NUMBERS))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def gaps(bench: Bench) -> None:
    """Between the tokens of an interactive generation, idle and while an
    evaluation of 36 questions and a stream of all activations run."""
    shape = bench.pick(WORDS, SMALL_WORDS)
    new_tokens, rounds = bench.pick((200, 4), (16, 1))
    path = make_model(shape, bench.models)
    questions = (
        (ROOT / "data/tiny_world/mcqs.jsonl").read_bytes().splitlines(True)
    )
    server = bench.server
    name = server.load_model("words", path)
    adapter = server.register_adapter(name, "a", make_adapter(path, 0, RANK))
    base_and_adapter = [(name, ""), (name, adapter)]

    def evaluation(number: int) -> None:
        first = 36 * number % (len(questions) - 36)
        server.evaluate(
            base_and_adapter, b"".join(questions[first : first + 36])
        )

    def capture(number: int) -> None:
        ids = prompts(
            number, *bench.pick((16, (128, 128)), (2, (16, 16))), shape.vocab
        )
        server.stream(name, ids, SITES)

    def measure(number: int) -> np.ndarray:
        ids = prompts(-1 - number, 1, (32, 32), shape.vocab)[0]
        return np.diff(list(server.token_times(name, ids, new_tokens)))

    say("gap between the tokens of a generation ...")
    measure(0)
    idle, loaded = [], []
    for number in range(1, rounds + 1):
        idle.append(measure(2 * number))
        with beside(evaluation, capture):
            loaded.append(measure(2 * number + 1))
    for label, statistic, limit in (
        ("median", np.median, 3.0),
        ("90th percentile", lambda gap: np.percentile(gap, 90), None),
        ("longest", np.max, None),
    ):
        one = float(1e3 * statistic(np.concatenate(idle)))
        other = float(1e3 * statistic(np.concatenate(loaded)))
        bench.report(
            f"token gap beside evaluation and stream / idle, {label}",
            other / one,
            f"x ({other:.2f} ms / {one:.2f} ms)",
            limit,
            idle_ms=one,
            loaded_ms=other,
        )
