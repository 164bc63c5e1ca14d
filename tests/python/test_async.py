"""The asynchronous client gives what the blocking one gives."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dissonance
import numpy as np
import pytest
from conftest import CANDIDATES, Server
from dissonance import aio
from dissonance.blocking import run

Rows = list[dict[str, Any]]


@asynccontextmanager
async def networks(server: Server) -> AsyncIterator[list[aio.Network]]:
    async with aio.connect(data_dir=server.data_dir) as lab:
        yield [lab.network("tiny-world"), lab.network("tiny-world", "cubic")]


def test_direct_calls_give_the_same(
    server: Server, lab: dissonance.Client, cubic: dissonance.Network, prompts: Rows
) -> None:
    async def ask() -> list[Any]:
        async with networks(server) as (base, own):
            return list(
                await asyncio.gather(
                    own.score(prompts, [" quarter"]),
                    own.generate(prompts, max_new_tokens=4, temperature=1, seed=3),
                    own.lens(prompts, CANDIDATES),
                    own.activations(prompts, blocks=2),
                    own.patch(base, prompts, CANDIDATES),
                    base.compare(own, prompts, positions="last_prompt"),
                    own.tokenize("The moon"),
                )
            )

    base = lab.network("tiny-world")
    score, samples, lens, acts, patches, comparison, ids = asyncio.run(ask())
    assert np.array_equal(score.logprobs, cubic.score(prompts, [" quarter"]).logprobs)
    own = cubic.generate(prompts, max_new_tokens=4, temperature=1, seed=3)
    assert [each.text for each in samples] == [each.text for each in own]
    assert list(lens) == list(cubic.lens(prompts, CANDIDATES))
    told = cubic.activations(prompts, blocks=2)
    assert np.array_equal(acts["resid_post", 2], told["resid_post", 2])
    assert list(patches) == list(cubic.patch(base, prompts, CANDIDATES))
    same = base.compare(cubic, prompts, positions="last_prompt")
    assert list(comparison) == list(same)
    assert ids == cubic.tokenize("The moon")


def test_streams_are_iterated(server: Server, cubic: dissonance.Network) -> None:
    async def ask() -> str:
        async with networks(server) as (_, own):
            pieces = own.stream("The moon", max_new_tokens=6)
            return "".join([piece.text async for piece in pieces])

    assert asyncio.run(ask()) == cubic.generate("The moon", max_new_tokens=6)[0].text


def test_jobs_are_awaited(server: Server, questions: Rows) -> None:
    async def ask() -> tuple[list[int], Any]:
        async with networks(server) as both:
            jobs = both[0].client.jobs
            job = await jobs.evaluate_mcq(both, questions, scoring="option_text")
            numbers: list[int] = []
            await job.wait(
                progress=False, on_event=lambda event: numbers.append(event.number)
            )
            listed = await jobs.list(limit=2)
            assert listed[0].name == job.name
            return numbers, await job.result()

    numbers, frame = asyncio.run(ask())
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(frame) == 8


def test_cancelling_a_wait_leaves_the_job_running(
    server: Server, questions: Rows
) -> None:
    async def ask() -> str:
        async with networks(server) as both:
            jobs = both[0].client.jobs
            job = await jobs.evaluate_mcq(both, questions)
            waiting = asyncio.ensure_future(job.wait(progress=False))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await job.wait(progress=False)
            return job.state

    assert asyncio.run(ask()) == "succeeded"


def test_errors_are_the_same(server: Server) -> None:
    async def ask() -> None:
        async with networks(server) as (base, _):
            await base.client.models.get("none")

    with pytest.raises(dissonance.NotFound, match="no model models/none"):
        asyncio.run(ask())


def test_both_clients_have_the_same_names() -> None:
    for name in aio.__all__:
        if name in ("connect", "Specs"):
            continue
        own, other = getattr(dissonance, name), getattr(aio, name)
        public = {each for each in dir(other) if not each.startswith("_")}
        assert public <= {each for each in dir(own) if not each.startswith("_")}, name


def test_blocking_methods_show_the_signature_and_text_of_theirs() -> None:
    own, other = dissonance.Client.score, aio.Client.score
    assert list(inspect.signature(own).parameters) == list(
        inspect.signature(other).parameters
    )
    assert own.__doc__ == other.__doc__
    assert not inspect.iscoroutinefunction(own)


def test_coroutine_that_suspends_is_refused() -> None:
    with pytest.raises(RuntimeError, match="suspended"):
        run(asyncio.sleep(0))


def test_blocking_calls_work_inside_a_running_loop(
    cubic: dissonance.Network,
) -> None:
    async def in_a_notebook() -> int:
        return len(cubic.tokenize("The moon"))

    assert asyncio.run(in_a_notebook()) == 2
