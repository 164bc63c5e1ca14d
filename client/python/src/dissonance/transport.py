"""Calls over one channel, for the asynchronous and for the blocking client.

Both transports have the same methods. Those of `Blocking` are coroutines that never
suspend: they wait inside gRPC (see blocking.py).

A call that is safe to repeat is asked again, with back-off for about 10 s, while the
answer is UNAVAILABLE, as when a worker is being restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from .errors import NotFound, Unavailable, from_rpc
from .settings import Settings, absolute

R = TypeVar("R", bound=Message)

# A job carries its data, of at most 16 MiB, and a job's record carries it too.
MESSAGE_LIMIT_BYTES = 64 << 20
UNARY_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 6.0


class Transport(ABC):
    """A channel with the caller's token on every call."""

    def __init__(self, settings: Settings) -> None:
        """Opens the channel; gRPC connects with the first call."""
        self.settings = settings
        self._metadata: tuple[tuple[str, str], ...] = ()
        if settings.token:
            self._metadata = (("authorization", f"Bearer {settings.token}"),)

    async def call(
        self,
        method: str,
        request: Message,
        response: type[R],
        *,
        timeout: float | None = UNARY_SECONDS,
        repeat: bool = True,
    ) -> R:
        """One answer to one request, e.g. of "Jobs/GetJob".

        `timeout` is in seconds, None waits for ever. `repeat`: asking twice does no
        harm.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self.call_once(method, request, response, timeout)
            except Unavailable:
                if not repeat or pause > LAST_PAUSE_SECONDS:
                    raise
            await self.sleep(pause)
            pause *= 2

    async def collect(
        self, method: str, request: Message, response: type[R]
    ) -> list[R]:
        """All of a stream that is safe to ask for again."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with aclosing(self.stream(method, request, response)) as answers:
                    return [each async for each in answers]
            except Unavailable:
                if pause > LAST_PAUSE_SECONDS:
                    raise
            await self.sleep(pause)
            pause *= 2

    @abstractmethod
    async def call_once(
        self, method: str, request: Message, response: type[R], timeout: float | None
    ) -> R:
        """`call`, asked once."""

    @abstractmethod
    def stream(
        self, method: str, request: Message, response: type[R]
    ) -> AsyncGenerator[R, None]:
        """The answers of a stream; closing the generator cancels the call."""

    @abstractmethod
    async def upload(
        self, method: str, requests: Iterator[Message], response: type[R]
    ) -> R:
        """One answer to a stream of requests."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Waits."""

    @abstractmethod
    async def close(self) -> None:
        """Ends all calls and closes the channel."""

    def _open(self, kinds: Any) -> Any:
        """A channel of `kinds`, which is grpc or grpc.aio."""
        settings = self.settings
        options = _options(settings)
        if settings.local and not settings.names_tls:
            return kinds.insecure_channel(settings.target, options)
        # A token never travels in the clear to another machine.
        credentials = grpc.ssl_channel_credentials(
            _pem(settings.tls_ca_file, "tls_ca_file"),
            _pem(settings.tls_key_file, "tls_key_file"),
            _pem(settings.tls_certificate_file, "tls_certificate_file"),
        )
        return kinds.secure_channel(settings.target, credentials, options)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            settings = self.settings
            raise from_rpc(error, settings.token_source, settings.target) from None


class Blocking(Transport):
    """Waits in the caller's thread. Thread safe."""

    def __init__(self, settings: Settings) -> None:
        """Opens the channel."""
        super().__init__(settings)
        self._channel: grpc.Channel = self._open(grpc)

    async def call_once(
        self, method: str, request: Message, response: type[R], timeout: float | None
    ) -> R:
        """See Transport."""
        call = self._channel.unary_unary(_path(method), _bytes_of, response.FromString)
        with self._explained():
            result: R = call(request, timeout=timeout, metadata=self._metadata)
        return result

    async def stream(
        self, method: str, request: Message, response: type[R]
    ) -> AsyncGenerator[R, None]:
        """See Transport."""
        call = self._channel.unary_stream(_path(method), _bytes_of, response.FromString)
        answers = call(request, metadata=self._metadata)
        try:
            with self._explained():
                for answer in answers:
                    yield answer
        finally:
            answers.cancel()

    async def upload(
        self, method: str, requests: Iterator[Message], response: type[R]
    ) -> R:
        """See Transport."""
        call = self._channel.stream_unary(_path(method), _bytes_of, response.FromString)
        with self._explained():
            result: R = call(requests, metadata=self._metadata)
        return result

    async def sleep(self, seconds: float) -> None:
        """See Transport."""
        time.sleep(seconds)

    async def close(self) -> None:
        """See Transport."""
        self._channel.close()


class Asyncio(Transport):
    """Suspends; for one event loop, the one that runs at the first call."""

    def __init__(self, settings: Settings) -> None:
        """Opens the channel at the first call, when the loop is known."""
        super().__init__(settings)
        self._opened: grpc.aio.Channel | None = None

    @property
    def _channel(self) -> grpc.aio.Channel:
        channel = self._opened or self._open(grpc.aio)
        self._opened = channel
        return channel

    async def call_once(
        self, method: str, request: Message, response: type[R], timeout: float | None
    ) -> R:
        """See Transport."""
        call = self._channel.unary_unary(_path(method), _bytes_of, response.FromString)
        with self._explained():
            result: R = await call(request, timeout=timeout, metadata=self._metadata)
        return result

    async def stream(
        self, method: str, request: Message, response: type[R]
    ) -> AsyncGenerator[R, None]:
        """See Transport."""
        call = self._channel.unary_stream(_path(method), _bytes_of, response.FromString)
        answers = call(request, metadata=self._metadata)
        try:
            with self._explained():
                async for answer in answers:
                    yield answer
        finally:
            answers.cancel()

    async def upload(
        self, method: str, requests: Iterator[Message], response: type[R]
    ) -> R:
        """See Transport."""
        call = self._channel.stream_unary(_path(method), _bytes_of, response.FromString)
        with self._explained():
            result: R = await call(requests, metadata=self._metadata)
        return result

    async def sleep(self, seconds: float) -> None:
        """See Transport."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """See Transport."""
        if self._opened is not None:
            await self._opened.close()


def _path(method: str) -> str:
    return f"/dissonance.v1.{method}"


def _bytes_of(message: Message) -> bytes:
    return message.SerializeToString()


def _options(settings: Settings) -> Sequence[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
        ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # Also the time that one attempt has: a busy machine may take seconds.
        ("grpc.min_reconnect_backoff_ms", 2000),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
    if settings.local:
        options.append(("grpc.enable_http_proxy", 0))
    return options


def _pem(path: str | None, key: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(absolute(path)).read_bytes()
    except OSError as error:
        raise NotFound(f"{key}: {path}: {error.strerror}") from None
