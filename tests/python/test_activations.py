"""Activations: values, labels, memory, and streams that break."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import dissonance
import numpy as np
import pytest
import safetensors.numpy
from conftest import Server
from dissonance import aio, settings
from dissonance.activations import Assembler
from dissonance.transport import Blocking
from dissonance.v1 import common_pb2, interpretability_pb2

Rows = list[dict[str, Any]]
SITES = ["resid_post", "z", "final_norm"]


def test_rows_equal_the_command_line(
    server: Server, cubic: dissonance.Network, prompts: Rows, tmp_path: Path
) -> None:
    server.cli(
        "activations", "--model=tiny-world", "--adapter=cubic", "--input=-",
        "--sites=resid_post,z,final_norm", "--positions=all", f"--out={tmp_path}/a",
        text="".join(json.dumps(row) + "\n" for row in prompts),
    )  # fmt: skip
    told = safetensors.numpy.load_file(tmp_path / "a" / "activations-00000.safetensors")
    acts = cubic.activations(prompts, sites=SITES, positions="all")
    names = {f"blocks.{p.block}.{p.site}" if p.block is not None else p.site: p
             for p in acts.places}  # fmt: skip
    assert set(told) == set(names)
    for name, array in told.items():
        assert np.array_equal(array, acts[names[name]]), name
    labels = dissonance.read_rows(tmp_path / "a" / "metadata.jsonl")
    frame = acts.frame()
    assert [row["id"] for row in labels] == list(frame["id"])
    assert [row["position"] for row in labels] == list(frame["position"])
    assert [row["token_id"] for row in labels] == list(frame["token_id"])
    assert [row["labels"]["category"] for row in labels] == list(frame["category"])


def test_default_is_one_row_a_prompt(cubic: dissonance.Network, prompts: Rows) -> None:
    acts = cubic.activations(prompts)
    assert acts["resid_post", 2].shape == (len(prompts), 128)
    assert acts["resid_post.2"] is not None
    assert acts.ids == tuple(row["id"] for row in prompts)
    assert acts.rows_of(prompts[3]["id"]).sum() == 1
    with pytest.raises(dissonance.InvalidArgument, match=r"no activations at z\.2"):
        acts["z", 2]


def test_bfloat16_is_the_rounded_float32(
    cubic: dissonance.Network, prompts: Rows
) -> None:
    exact = cubic.activations(prompts, blocks=2)["resid_post", 2]
    half = cubic.activations(prompts, blocks=2, dtype="bfloat16")["resid_post", 2]
    assert half.dtype == np.float32
    assert np.allclose(exact, half, rtol=2**-8)
    assert np.all(half.view(np.uint32) & 0xFFFF == 0)


def test_mean_is_the_mean_of_the_positions(
    cubic: dissonance.Network, prompts: Rows
) -> None:
    every = cubic.activations(prompts, blocks=2, positions="all")
    mean = cubic.activations(prompts, blocks=2, positions="all", mean=True)
    for index, row in enumerate(prompts):
        own = every["resid_post", 2][every.rows_of(row["id"])].astype(np.float64)
        assert np.allclose(mean["resid_post", 2][index], own.mean(axis=0), atol=1e-4)


def test_pattern_is_an_array_for_each_prompt(
    cubic: dissonance.Network, prompts: Rows
) -> None:
    acts = cubic.activations(prompts, sites="pattern", blocks=1, positions="all")
    for row, pattern in zip(prompts, acts["pattern", 1], strict=True):
        length = int(acts.rows_of(row["id"]).sum())
        assert pattern.shape == (length, 4, length)
        assert np.allclose(pattern.sum(axis=-1), 1, atol=1e-2)


def test_generated_positions_are_captured(
    cubic: dissonance.Network, prompts: Rows
) -> None:
    acts = cubic.activations(
        prompts[:2], blocks=2, positions="generated", max_new_tokens=3, ignore_eos=True
    )
    assert acts.generated.all()
    assert len(acts) == 2 * 2  # the last token is never fed back


def test_several_networks_come_in_their_order(
    lab: dissonance.Client,
    base: dissonance.Network,
    cubic: dissonance.Network,
    prompts: Rows,
) -> None:
    both = lab.activations([base, cubic], prompts, blocks=2)
    assert [each.network for each in both] == ["tiny-world", "cubic"]
    alone = cubic.activations(prompts, blocks=2)
    assert np.array_equal(both[1]["resid_post", 2], alone["resid_post", 2])


class Breaking(Blocking):
    """Loses the connection once, after a number of messages."""

    def __init__(self, of: settings.Settings, after: int) -> None:
        super().__init__(of)
        self.left = after
        self.cursors: list[str] = []

    async def stream(
        self, method: str, request: Any, response: Any
    ) -> AsyncGenerator[Any, None]:
        self.cursors.append(request.cursor)
        async for message in super().stream(method, request, response):
            self.left -= 1
            if self.left == 0:
                raise dissonance.Unavailable("lost")
            yield message


@pytest.mark.parametrize("after", [1, 2, 5, 12, 20])
def test_broken_stream_is_taken_up_behind_its_last_row(
    server: Server, cubic: dissonance.Network, prompts: Rows, after: int
) -> None:
    arguments: dict[str, Any] = {"blocks": [1, 2], "positions": "all"}
    transport = Breaking(settings.resolve(data_dir=server.data_dir), after)
    client = dissonance.Client(aio.Client(transport))
    network = client.network("tiny-world", adapter="cubic")
    found = network.activations(prompts, **arguments)
    whole = cubic.activations(prompts, **arguments)
    assert len(transport.cursors) == 2
    assert bool(transport.cursors[1]) == (after > 4)
    for place in whole.places:
        assert np.array_equal(found[place], whole[place])
    assert np.array_equal(found.position, whole.position)
    client.close()


ROWS, WIDTH, PLACES, PROMPTS = 256, 1024, 4, 16


def big_stream() -> Iterator[interpretability_pb2.StreamActivationsResponse]:
    """64 MiB of rows, made as they are read."""
    for prompt in range(PROMPTS):
        message = interpretability_pb2.StreamActivationsResponse()
        for position in range(ROWS):
            message.rows.rows.add(input_index=prompt, position=position)
        yield message
        for block in range(PLACES):
            data = np.full((ROWS, WIDTH), prompt * PLACES + block, dtype="<f4")
            message = interpretability_pb2.StreamActivationsResponse()
            message.chunk.place.site = common_pb2.SITE_RESID_POST
            message.chunk.place.block = block
            message.chunk.tensor.dtype = common_pb2.DTYPE_FLOAT32
            message.chunk.tensor.shape.extend([ROWS, WIDTH])
            message.chunk.tensor.data = data.tobytes()
            yield message
        yield interpretability_pb2.StreamActivationsResponse(cursor=f"{prompt}")
    yield interpretability_pb2.StreamActivationsResponse(
        summary=interpretability_pb2.ActivationSummary(row_count=ROWS * PROMPTS)
    )


def test_many_activations_are_copied_once() -> None:
    size = PROMPTS * ROWS * WIDTH * PLACES * 4
    inputs = [common_pb2.Input(id=f"{i}") for i in range(PROMPTS)]
    tracemalloc.start()
    assembler = Assembler(["network"], inputs)
    for message in big_stream():
        assembler.add(message)
    acts = assembler.activations()[0]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What arrived, one place of it as its array, and a message under way.
    assert peak < size * (1 + 1 / PLACES) * 1.1
    for block in range(PLACES):
        rows = acts["resid_post", block]
        assert rows.base is None
        assert np.array_equal(rows[::ROWS, 0], np.arange(PROMPTS) * PLACES + block)


def test_missing_rows_are_noticed() -> None:
    assembler = Assembler(["network"], [common_pb2.Input(id="0")])
    messages = [each for each, _ in zip(big_stream(), range(2), strict=False)]
    messages[0].rows.rows.add(input_index=0, position=ROWS)
    for message in messages:
        assembler.add(message)
    end = interpretability_pb2.StreamActivationsResponse(cursor="1")
    with pytest.raises(dissonance.DataLoss, match="256 of 257 rows"):
        assembler.add(end)


def test_torch_shares_the_memory(cubic: dissonance.Network, prompts: Rows) -> None:
    torch = pytest.importorskip("torch")
    acts = cubic.activations(prompts, blocks=2)
    tensor = acts.torch("resid_post", 2)
    assert tensor.data_ptr() == acts["resid_post", 2].ctypes.data
    half = cubic.activations(prompts, blocks=2, dtype="bfloat16")
    as_torch = half.torch("resid_post", 2)
    assert as_torch.dtype == torch.bfloat16
    assert np.array_equal(as_torch.float().numpy(), half["resid_post", 2])
    steered = cubic.steer(as_torch[0], site="resid_post", block=2, coefficient=1)
    assert len(steered.interventions) == 1
