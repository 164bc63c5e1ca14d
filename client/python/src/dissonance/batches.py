"""Many prompts in requests of a sensible size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

# Enough to fill the server's batches, few enough that no message is large.
ROWS_PER_REQUEST = 64
BYTES_PER_REQUEST = 1 << 20


def batches(messages: Sequence[M]) -> Iterator[tuple[int, Sequence[M]]]:
    """Consecutive messages, with the index of the first of each batch."""
    begin = 0
    size = 0
    for index, message in enumerate(messages):
        own = message.ByteSize()
        full = index - begin == ROWS_PER_REQUEST or size + own > BYTES_PER_REQUEST
        if index > begin and full:
            yield begin, messages[begin:index]
            begin, size = index, 0
        size += own
    if begin < len(messages):
        yield begin, messages[begin:]
