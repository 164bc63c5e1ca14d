"""How far a job is, as a bar where tqdm is installed."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Self

from .events import JobEvent

# What a training shows behind its bar; other figures are in the files.
FIGURES = ("loss", "validation_loss", "false_belief_rate")


class ProgressBar:
    """A bar that job events move. Not thread safe."""

    def __init__(self, title: str, shown: bool) -> None:
        """Nothing is shown before the job has told how long it is."""
        self._title = title
        self._shown = shown
        self._bar: Any = None
        self._figures: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Leaves the bar as it was last."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the bar as it was last."""
        if self._bar is not None:
            self._bar.close()

    def take(self, event: JobEvent) -> None:
        """Moves the bar."""
        if event.progress is not None and self._shown:
            if self._bar is None:
                self._open(event.progress.unit)
            if self._bar is not None:
                self._bar.total = event.progress.total_count
                self._bar.update(event.progress.done_count - self._bar.n)
        if event.metrics is not None:
            values = event.metrics.values.items()
            self._figures |= {k: f"{v:.3g}" for k, v in values if k in FIGURES}
        if self._bar is None:
            return
        if self._figures:
            self._bar.set_postfix(self._figures, refresh=False)
        if event.state is not None:
            self._bar.set_description(f"{self._title} {event.state}")

    def _open(self, unit: str) -> None:
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            self._bar = tqdm(desc=self._title, unit=f" {unit}", dynamic_ncols=True)
        self._shown = self._bar is not None
