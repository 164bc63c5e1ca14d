"""The blocking client out of the asynchronous one, without an event loop.

Everything is written once, as coroutines over a transport (transport.py). With the
blocking transport a coroutine waits inside gRPC instead of suspending, so it runs
from beginning to end in one step, in the caller's thread: also in a notebook, whose
own event loop is busy, and Ctrl-C interrupts it where it waits.

    class Network:
        score = blocking(aio.Network.score)
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """What a coroutine over the blocking transport returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} suspended; it does not run on this transport")


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Any, P], R]:
    """`method` of the object's `_inner`, waited for; same signature and text."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run(method(self._inner, *args, **kwargs))

    return call


def blocking_iterator(
    method: Callable[Concatenate[Any, P], AsyncIterator[R]],
) -> Callable[Concatenate[Any, P], Iterator[R]]:
    """The same for a method that gives its results one by one."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return iterate(method(self._inner, *args, **kwargs))

    return call


def iterate(results: AsyncIterator[R]) -> Iterator[R]:
    """The results of an asynchronous iterator over the blocking transport."""
    try:
        while True:
            try:
                result = run(_next(results))
            except StopAsyncIteration:
                return
            yield result
    finally:
        close = getattr(results, "aclose", None)
        if close is not None:
            run(close())


async def _next(results: AsyncIterator[R]) -> R:
    return await results.__anext__()
