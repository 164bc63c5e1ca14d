"""The blocking job."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from .aio.job import Job as AsyncJob
from .blocking import blocking, blocking_iterator, run
from .events import JobEvent, Output, Progress
from .results import Provenance

if TYPE_CHECKING:
    from .v1 import jobs_pb2

SECOND_INTERRUPT_SECONDS = 3.0


class Job:
    """A recorded experiment. Its fields are as of the last answer; see refresh().

        job = lab.jobs.fine_tune("tiny-world", "docs.jsonl", "mine").wait()
        job.result().plot("step", "loss")

    A job goes on whether somebody waits for it or not.
    """

    def __init__(self, inner: AsyncJob) -> None:
        """See Jobs."""
        self._inner = inner

    @property
    def message(self) -> jobs_pb2.Job:
        """The API's message."""
        return self._inner.message

    @property
    def name(self) -> str:
        """ "jobs/ULID"."""
        return self._inner.name

    @property
    def kind(self) -> str:
        """E.g. "evaluate_mcq"."""
        return self._inner.kind

    @property
    def state(self) -> str:
        """queued, waiting, running, succeeded, failed, cancelling, cancelled, ..."""
        return self._inner.state

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self._inner.ended

    @property
    def reason(self) -> str:
        """Why it is in this state; of a failed one the error."""
        return self._inner.reason

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._inner.progress

    @property
    def outputs(self) -> dict[str, Output]:
        """Files so far, by name; all of them once it succeeded."""
        return self._inner.outputs

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """One for each network, once computed."""
        return self._inner.provenance

    def __repr__(self) -> str:
        """Name, kind and state."""
        return repr(self._inner)

    def wait(
        self,
        *,
        progress: bool = True,
        on_event: Callable[[JobEvent], None] | None = None,
        check: bool = True,
    ) -> Self:
        """Follows the job until it has ended.

        `progress` shows a bar (with tqdm), `on_event` gets each event once, also over
        a lost connection. Raises JobFailed or JobCancelled unless `check` is off, and
        Unavailable when the server has been away for a minute.

        Ctrl-C stops waiting and leaves the job running; a second one within 3 s
        cancels it.
        """
        try:
            run(self._inner.wait(progress=progress, on_event=on_event, check=check))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._detach()) from None
        return self

    def _detach(self) -> str:
        print(
            f"{self.name} goes on; press Ctrl-C again to cancel it",
            file=sys.stderr,
            flush=True,
        )
        try:
            time.sleep(SECOND_INTERRUPT_SECONDS)
        except KeyboardInterrupt:
            self.cancel()
            return f"{self.name} was cancelled; retry() goes on from what it recorded"
        return f"{self.name} goes on; wait() follows it again, cancel() ends it"

    def _change(self, change: Any) -> Self:
        run(change(self._inner))
        return self

    def refresh(self) -> Self:
        """Asks the server how it is now."""
        return self._change(AsyncJob.refresh)

    def cancel(self) -> Self:
        """Asks it to stop; what it recorded is kept."""
        return self._change(AsyncJob.cancel)

    def retry(self) -> Self:
        """Queues a failed or cancelled job again; nothing is computed twice."""
        return self._change(AsyncJob.retry)

    def pause(self) -> Self:
        """Stops it so that resume() goes on where it stopped; returns once it has."""
        return self._change(AsyncJob.pause)

    def resume(self) -> Self:
        """Queues a paused job again."""
        return self._change(AsyncJob.resume)

    events = blocking_iterator(AsyncJob.events)
    delete = blocking(AsyncJob.delete)
    read = blocking(AsyncJob.read)
    text = blocking(AsyncJob.text)
    json = blocking(AsyncJob.json)
    frame = blocking(AsyncJob.frame)
    tensors = blocking(AsyncJob.tensors)
    vectors = blocking(AsyncJob.vectors)
    download = blocking(AsyncJob.download)
    result = blocking(AsyncJob.result)
