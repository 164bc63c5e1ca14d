"""How far a job is, as a bar where tqdm is installed."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Self

from .events import JobEvent


class ProgressBar:
    """A bar that job events move. Not thread safe."""

    def __init__(self, title: str, shown: bool) -> None:
        """Nothing is shown before the first event."""
        self._title = title
        self._shown = shown
        self._bar: Any = None

    def __enter__(self) -> Self:
        """Closes the bar at the end."""
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
        if not self._shown:
            return
        if self._bar is None and not self._open():
            return
        bar = self._bar
        if event.state is not None:
            bar.set_description(f"{self._title} {event.state}")
        if event.progress is not None:
            bar.unit = f" {event.progress.unit}"
            bar.total = event.progress.total_count
            bar.n = event.progress.done_count
        if event.metrics is not None:
            bar.set_postfix(
                {name: f"{value:.4g}" for name, value in event.metrics.values.items()}
            )
        bar.refresh()

    def _open(self) -> bool:
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            self._bar = tqdm(desc=self._title, dynamic_ncols=True)
        self._shown = self._bar is not None
        return self._shown
