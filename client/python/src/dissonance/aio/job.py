"""A job: watched, steered, and read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import InvalidArgument, JobCancelled, JobFailed, NotFound, Unavailable
from ..events import ENDED, JobEvent, Output, Progress
from ..files import check_file_name, write_atomically
from ..frames import frame_of_file
from ..job_files import main_files, read_tensors, read_vectors, result_frame
from ..names import enum_word
from ..probing import DirectionVector
from ..progress import ProgressBar
from ..results import Provenance, provenance_of
from ..transport import Transport
from ..v1 import jobs_pb2 as pb
from .artifacts import Artifacts

if TYPE_CHECKING:
    import pandas as pd

FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
PATIENCE_SECONDS = 60.0


class Job:
    """A recorded experiment. Its fields are as of the last answer; see refresh().

        job = await lab.jobs.evaluate_mcq([base, cubic], "questions.jsonl")
        await job.wait()
        frame = await job.result()

    A job goes on whether somebody waits for it or not.
    """

    def __init__(self, transport: Transport, message: pb.Job) -> None:
        """See Jobs."""
        self._transport = transport
        self._artifacts = Artifacts(transport)
        self.message = message
        """The API's message."""

    @property
    def name(self) -> str:
        """ "jobs/ULID"."""
        return self.message.name

    @property
    def kind(self) -> str:
        """E.g. "evaluate_mcq"."""
        return self.message.spec.WhichOneof("kind") or ""

    @property
    def state(self) -> str:
        """queued, waiting, running, succeeded, failed, cancelling, cancelled, ..."""
        return enum_word(pb.JobState, self.message.state)

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.state in ENDED

    @property
    def reason(self) -> str:
        """Why it is in this state; of a failed one the error."""
        return self.message.reason

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress.of(self.message.progress)

    @property
    def outputs(self) -> dict[str, Output]:
        """Files so far, by name; all of them once it succeeded."""
        return {each.file_name: Output.of(each) for each in self.message.outputs}

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """One for each network, once computed."""
        return provenance_of(self.message.provenance)

    def __repr__(self) -> str:
        """Name, kind and state."""
        return f"<{self.name} {self.kind} {self.state}>"

    async def refresh(self) -> Self:
        """Asks the server how it is now."""
        response = await self._transport.call(
            "Jobs/GetJob", pb.GetJobRequest(name=self.name), pb.GetJobResponse
        )
        self.message = response.job
        return self

    async def wait(
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
        """
        with ProgressBar(self.kind, progress) as bar:
            async for event in self.events():
                bar.take(event)
                if on_event is not None:
                    on_event(event)
        if check:
            self._raise_unless_succeeded()
        return self

    async def events(self, after: int = 0) -> AsyncIterator[JobEvent]:
        """Events with a greater number than `after`, until the job has ended.

        A lost connection is taken up again behind the last event.
        """
        backoff = FIRST_BACKOFF_SECONDS
        last_sign = time.monotonic()
        while True:
            request = pb.WatchJobRequest(name=self.name, after_event_number=after)
            try:
                async with aclosing(
                    self._transport.stream(
                        "Jobs/WatchJob", request, pb.WatchJobResponse
                    )
                ) as answers:
                    async for answer in answers:
                        backoff, last_sign = FIRST_BACKOFF_SECONDS, time.monotonic()
                        if answer.HasField("job"):
                            self.message = answer.job
                            return
                        after = answer.event.number
                        yield JobEvent.of(answer.event)
            except Unavailable as error:
                if time.monotonic() - last_sign > PATIENCE_SECONDS:
                    raise Unavailable(
                        f"lost the server for {PATIENCE_SECONDS:g} s: {error.message}",
                        (f"{self.name} is recorded and goes on when it is back",),
                    ) from None
            await self._transport.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF_SECONDS)

    async def cancel(self) -> Self:
        """Asks it to stop; what it recorded is kept."""
        request = pb.CancelJobRequest(name=self.name)
        return await self._change("Jobs/CancelJob", request, pb.CancelJobResponse)

    async def retry(self) -> Self:
        """Queues a failed or cancelled job again; nothing is computed twice."""
        request = pb.RetryJobRequest(name=self.name)
        return await self._change("Jobs/RetryJob", request, pb.RetryJobResponse)

    async def pause(self) -> Self:
        """Stops it so that resume() goes on where it stopped; returns once it has."""
        request = pb.PauseJobRequest(name=self.name)
        await self._change("Jobs/PauseJob", request, pb.PauseJobResponse)
        wait = FIRST_BACKOFF_SECONDS
        while self.state == "pausing":
            await self._transport.sleep(wait)
            wait = min(wait * 2, LONGEST_BACKOFF_SECONDS)
            await self.refresh()
        return self

    async def resume(self) -> Self:
        """Queues a paused job again."""
        request = pb.ResumeJobRequest(name=self.name)
        return await self._change("Jobs/ResumeJob", request, pb.ResumeJobResponse)

    async def delete(self) -> None:
        """Forgets an ended job; its artifacts stay until garbage collection."""
        await self._transport.call(
            "Jobs/DeleteJob",
            pb.DeleteJobRequest(name=self.name),
            pb.DeleteJobResponse,
            repeat=False,
        )

    async def read(self, file_name: str) -> bytes:
        """A file's bytes, checked against their digest. Raises NotFound."""
        outputs = self.outputs
        if file_name not in outputs:
            known = ", ".join(outputs) or "none"
            raise NotFound(
                f"{self.name}, {self.state}, has no file {file_name}; it has {known}"
            )
        return await self._artifacts.read(outputs[file_name].artifact)

    async def text(self, file_name: str) -> str:
        """A file's text."""
        return (await self.read(file_name)).decode("utf-8")

    async def json(self, file_name: str) -> Any:
        """A file's JSON."""
        return json.loads(await self.read(file_name))

    async def frame(self, file_name: str) -> pd.DataFrame:
        """A .csv, .jsonl or .json file as a DataFrame; nested fields as a.b."""
        return frame_of_file(file_name, await self.read(file_name))

    async def tensors(self, file_name: str) -> dict[str, Any]:
        """The numpy arrays of a .safetensors file, by name."""
        return read_tensors(await self.read(file_name))

    async def vectors(self) -> list[DirectionVector]:
        """The directions that a fit_directions job found, for directions.make()."""
        tensors = await self.tensors("direction.safetensors")
        return read_vectors(await self.json("summary.json"), tensors)

    async def download(
        self, directory: str | os.PathLike[str], files: Iterable[str] | None = None
    ) -> list[Path]:
        """Writes its files, or some of them, into a folder; each checked and whole."""
        wanted = list(self.outputs) if files is None else list(files)
        for name in wanted:
            check_file_name(name)
        paths = []
        for name in wanted:
            path = Path(directory) / name
            write_atomically(path, await self.read(name))
            paths.append(path)
        return paths

    async def result(self) -> pd.DataFrame:
        """The main figures as a DataFrame.

        evaluate_mcq: rate, interval and n by network, group and measure (accuracy,
        false_belief). fine_tune: a row a step. train_probes: AUC by place and
        network. logit_lens: mean margin by layer. patch_sweep: effect by place and
        position. steering_sweep: a row a setting. evaluate_open: a row an answer.
        judge: a row a judgement. generate_documents: the documents.
        extract_activations: a row for each captured row; the numbers are in
        tensors(). fit_directions: a row a place; see vectors(). pipeline: its stages.
        """
        names = main_files(self.kind, list(self.outputs))
        if not names:
            raise InvalidArgument(
                f"{self.name}, {self.state}, has none of the files that {self.kind} "
                f"ends with; it has {', '.join(self.outputs) or 'none'}"
            )
        files = {name: await self.read(name) for name in names}
        return result_frame(self.message.spec, files)

    def _raise_unless_succeeded(self) -> None:
        if self.state == "succeeded":
            return
        reason = f": {self.reason}" if self.reason else ""
        hint = ("what it has recorded is kept; retry() goes on from there",)
        if self.state == "cancelled":
            raise JobCancelled(f"{self.name} was cancelled{reason}", hint)
        # The same again would fail again; a pipeline says itself what helps.
        of_spec = self.reason.startswith(
            ("INVALID_ARGUMENT: ", "OUT_OF_RANGE: ", "UNIMPLEMENTED: ")
        ) or (
            self.kind == "pipeline" and self.reason.startswith("FAILED_PRECONDITION: ")
        )
        raise JobFailed(f"{self.name} failed{reason}", () if of_spec else hint)

    async def _change(self, method: str, request: Any, response: type[Any]) -> Self:
        answer = await self._transport.call(method, request, response, repeat=False)
        self.message = answer.job
        return self
