"""What every case is given: sizes, folders, and where its results go."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from harness import Comparison, Outcome, measure
from ours import Server

T = TypeVar("T")


def say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


@dataclass
class Bench:
    """One run. Close it: that ends the server.

    In smoke mode sizes are small, and speed is not held against a target.
    """

    smoke: bool
    pairs: int
    models: Path  # folder of the random models
    binaries: Path
    outcomes: list[Outcome] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self._stack.close()

    def pick(self, full: T, small: T) -> T:
        return small if self.smoke else full

    @cached_property
    def server(self) -> Server:
        """Started when a case first asks for it."""
        return self._stack.enter_context(Server(self.binaries))

    def compare(self, comparison: Comparison) -> None:
        """Each comparison has prompts of its own, as the server keeps what it
        has computed of those it has seen."""
        say(f"{comparison.case}: {comparison.peer} ...")
        make, first = comparison.inputs, 10_000 * len(self.outcomes)
        target = None if self.smoke else comparison.target
        comparison = replace(
            comparison, inputs=lambda pair: make(first + pair), target=target
        )
        self.outcomes.append(measure(comparison, self.pairs))

    def report(
        self,
        case: str,
        value: float,
        unit: str,
        limit: float | None = None,
        **details: Any,
    ) -> None:
        """A value that is not a ratio to a peer. Best at most `limit`."""
        self.values.append(
            {
                "case": case,
                "limit": None if self.smoke else limit,
                "unit": unit,
                "value": value,
                **details,
            }
        )


@dataclass(frozen=True)
class Case:
    """One or more rows of the table."""

    summary: str
    minutes: float  # of a full run on two processors, about
    run: Callable[[Bench], None]
    needs_gpu: bool = False
