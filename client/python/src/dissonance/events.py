"""A job, its events and its files, as the server records them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from .frames import frame_of
from .names import enum_word
from .v1 import jobs_pb2 as pb

if TYPE_CHECKING:
    import pandas as pd

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Progress:
    """Units recorded, of how many."""

    done_count: int
    total_count: int
    unit: str
    rate: float
    """Units a second over the present run; 0 while unknown."""

    @classmethod
    def of(cls, message: pb.Progress) -> Self:
        """From the API's message."""
        return cls(message.done_count, message.total_count, message.unit, message.rate)


@dataclass(frozen=True)
class Output:
    """A file that a job produced."""

    file_name: str
    artifact: str
    size_bytes: int
    names_run: bool
    """Whether it names the run itself, so that a replay gives other bytes."""

    @classmethod
    def of(cls, message: pb.JobOutput) -> Self:
        """From the API's message."""
        return cls(
            message.file_name, message.artifact, message.size_bytes, message.names_run
        )


@dataclass(frozen=True)
class Metrics:
    """What a job measured at one step."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job; one of the last five is set."""

    number: int
    """From 1, without gaps."""
    time: datetime
    state: str | None = None
    progress: Progress | None = None
    log: str | None = None
    output: Output | None = None
    metrics: Metrics | None = None

    @classmethod
    def of(cls, message: pb.JobEvent) -> Self:
        """From the API's message."""
        kind = message.WhichOneof("event")
        metrics = message.metrics
        return cls(
            number=message.number,
            time=message.time.ToDatetime(UTC),
            state=enum_word(pb.JobState, message.state) if kind == "state" else None,
            progress=Progress.of(message.progress) if kind == "progress" else None,
            log=message.log if kind == "log" else None,
            output=Output.of(message.output) if kind == "output" else None,
            metrics=Metrics(metrics.step, dict(metrics.values))
            if kind == "metrics"
            else None,
        )


@dataclass(frozen=True)
class Difference:
    """A value that two jobs do not share; empty where it is absent."""

    field: str
    first: str
    second: str


@dataclass(frozen=True)
class JobComparison:
    """How two jobs differ: what they were asked, what computed them, their files."""

    inputs: tuple[Difference, ...]
    provenance: tuple[Difference, ...]
    outputs: tuple[ComparedOutput, ...]
    same_outputs: bool
    """Whether all files that do not name the run are in both and equal."""

    @classmethod
    def of(cls, message: pb.CompareJobsResponse) -> Self:
        """From the API's message."""
        return cls(
            inputs=tuple(_difference(each) for each in message.inputs),
            provenance=tuple(_difference(each) for each in message.provenance),
            outputs=tuple(ComparedOutput.of(each) for each in message.outputs),
            same_outputs=message.same_outputs,
        )

    def frame(self) -> pd.DataFrame:
        """A row for each file."""
        return frame_of(vars(each) for each in self.outputs)


@dataclass(frozen=True)
class ComparedOutput:
    """A file of either job, with its artifacts; empty where a job has none."""

    file_name: str
    first: str
    second: str
    equal: bool
    names_run: bool

    @classmethod
    def of(cls, message: pb.ComparedOutput) -> Self:
        """From the API's message."""
        return cls(
            message.file_name,
            message.first,
            message.second,
            message.equal,
            message.names_run,
        )


def _difference(message: pb.JobDifference) -> Difference:
    return Difference(message.field, message.first, message.second)
