"""What the server knows: itself, models, adapters, artifacts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from .names import enum_word, short
from .v1 import admin_pb2, artifacts_pb2, authorization_pb2, common_pb2, models_pb2


@dataclass(frozen=True)
class Model:
    """A base model."""

    name: str
    """"models/MODEL"."""
    path: str
    """Its directory on the server's machine."""
    architecture: str
    dtype: str
    device: str
    parameter_count: int
    """Tied weights are counted once."""
    resident_bytes: int
    """0: the weights are not on the device now."""
    block_count: int
    """Blocks are numbered from 0."""
    d_model: int
    head_count: int
    kv_head_count: int
    vocab_size: int
    max_position_count: int
    digest: str
    tokenizer_digest: str
    """Empty: the model has no tokenizer."""
    has_chat_template: bool
    pinned: bool
    owner: str
    visibility: str

    @property
    def short_name(self) -> str:
        """MODEL."""
        return short(self.name)

    @classmethod
    def of(cls, message: models_pb2.Model) -> Self:
        """From the API's message."""
        values = {name: getattr(message, name) for name in cls.__dataclass_fields__}
        values["dtype"] = enum_word(common_pb2.DType, message.dtype)
        values["visibility"] = _visibility(message.visibility)
        return cls(**values)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter of one base model."""

    name: str
    """"models/MODEL/adapters/ADAPTER"."""
    path: str
    digest: str
    """Of its configuration and weights: what everything of it depends on."""
    rank: int
    module_count: int
    target_modules: tuple[str, ...]
    resident_bytes: int
    dropout: float
    owner: str
    visibility: str

    @property
    def short_name(self) -> str:
        """ADAPTER."""
        return short(self.name)

    @classmethod
    def of(cls, message: models_pb2.Adapter) -> Self:
        """From the API's message."""
        values = {name: getattr(message, name) for name in cls.__dataclass_fields__}
        values["target_modules"] = tuple(message.target_modules)
        values["visibility"] = _visibility(message.visibility)
        return cls(**values)


@dataclass(frozen=True)
class Invariant:
    """One thing that must hold of a loaded model."""

    name: str
    description: str
    passed: bool
    difference: float
    """Largest absolute difference found; 0: equal bit for bit."""
    limit: float
    compared_count: int
    message: str

    @classmethod
    def of(cls, message: models_pb2.Invariant) -> Self:
        """From the API's message."""
        return cls(**{key: getattr(message, key) for key in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Artifact:
    """An immutable file, named by the SHA-256 of its bytes."""

    name: str
    """"artifacts/sha256:HEX"."""
    size_bytes: int
    media_type: str
    create_time: datetime
    visibility: str
    pinned: bool
    """Garbage collection leaves it alone."""
    owned: bool

    @classmethod
    def of(cls, message: artifacts_pb2.Artifact) -> Self:
        """From the API's message."""
        values = {name: getattr(message, name) for name in cls.__dataclass_fields__}
        values["create_time"] = message.create_time.ToDatetime(UTC)
        values["visibility"] = _visibility(message.visibility)
        return cls(**values)


@dataclass(frozen=True)
class Worker:
    """A compute process."""

    name: str
    state: str
    pid: int
    device: str
    restart_count: int
    resident_bytes: int


@dataclass(frozen=True)
class ServerInfo:
    """A server, and who asks it."""

    version: str
    versions: dict[str, str] = field(repr=False)
    """Of what it is built on."""
    data_dir: str
    addresses: tuple[str, ...]
    workers: tuple[Worker, ...]
    start_time: datetime
    draining: bool
    maintenance: str
    """Why no jobs are started; empty while they are."""
    user: str
    """Who asks, "users/USER"."""
    scope: str
    """What the token allows: read, run or admin."""
    config_toml: str = field(repr=False)

    @classmethod
    def of(cls, message: admin_pb2.ServerInfoResponse) -> Self:
        """From the API's message."""
        workers = tuple(
            Worker(
                name=each.name,
                state=enum_word(admin_pb2.WorkerState, each.state),
                pid=each.pid,
                device=each.device,
                restart_count=each.restart_count,
                resident_bytes=each.resident_bytes,
            )
            for each in message.workers
        )
        return cls(
            version=message.version,
            versions=dict(message.versions),
            data_dir=message.data_dir,
            addresses=tuple(message.addresses),
            workers=workers,
            start_time=message.start_time.ToDatetime(UTC),
            draining=message.draining,
            maintenance=message.maintenance,
            user=message.caller.user,
            scope=enum_word(authorization_pb2.Scope, message.caller.scope),
            config_toml=message.config_toml,
        )


def _visibility(number: int) -> str:
    return enum_word(authorization_pb2.Visibility, number)
