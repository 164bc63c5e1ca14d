"""Experiments: queued, recorded, watched and resumed."""

from __future__ import annotations

import builtins
import functools
import uuid
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate, Literal, ParamSpec, Self

from ..events import JobComparison
from ..names import enum_number, job_name
from ..transport import Transport
from ..v1 import jobs_pb2 as pb
from .job import Job
from .pages import all_pages
from .specs import Specs

P = ParamSpec("P")
Priority = Literal["interactive", "normal", "background"]
Make = Callable[Concatenate[Specs, P], Coroutine[Any, Any, pb.JobSpec]]


def _queued(make: Make[P]) -> Callable[Concatenate[Jobs, P], Coroutine[Any, Any, Job]]:
    """`make`'s spec, queued; same arguments and text."""

    @functools.wraps(make)
    async def queue(self: Jobs, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        return await self.submit(await make(self.specs, *args, **kwargs))

    return queue


class Jobs:
    """Queues and finds jobs. What was queued survives any crash.

    job = await lab.jobs.evaluate_mcq([base, cubic], "questions.jsonl")
    late = await lab.jobs.using(after=[job]).judge(...)
    """

    def __init__(
        self, transport: Transport, creation: pb.CreateJobRequest | None = None
    ) -> None:
        """Part of a Client."""
        self._transport = transport
        self._creation = creation or pb.CreateJobRequest()
        self.specs = Specs(transport)
        """The same methods, giving specs for a pipeline's stages."""

    evaluate_mcq = _queued(Specs.evaluate_mcq)
    evaluate_open = _queued(Specs.evaluate_open)
    extract_activations = _queued(Specs.extract_activations)
    fine_tune = _queued(Specs.fine_tune)
    fit_directions = _queued(Specs.fit_directions)
    generate_documents = _queued(Specs.generate_documents)
    judge = _queued(Specs.judge)
    logit_lens = _queued(Specs.logit_lens)
    patch_sweep = _queued(Specs.patch_sweep)
    pipeline = _queued(Specs.pipeline)
    steering_sweep = _queued(Specs.steering_sweep)
    train_probes = _queued(Specs.train_probes)

    def using(
        self,
        *,
        request_id: str = "",
        priority: Priority = "normal",
        after: Iterable[Job | str] = (),
    ) -> Self:
        """The same, for jobs with these settings.

        With `request_id` the same call again finds the job made first (AlreadyExists
        if it differs), `after` are jobs that have to succeed first.
        """
        request = pb.CreateJobRequest(
            request_id=request_id,
            priority=enum_number(pb.JobPriority, priority, "priority"),
            depends_on=[
                each.name if isinstance(each, Job) else job_name(str(each))
                for each in after
            ],
        )
        return type(self)(self._transport, request)

    async def submit(self, spec: pb.JobSpec) -> Job:
        """Queues a job; it is on the server's disk when this returns.

        Raises InvalidArgument, with file, line and field, for bad data.
        """
        request = pb.CreateJobRequest(spec=spec)
        request.MergeFrom(self._creation)
        # With an id asking again after a lost answer makes no second job.
        request.request_id = request.request_id or f"python-{uuid.uuid4()}"
        response = await self._transport.call(
            "Jobs/CreateJob", request, pb.CreateJobResponse
        )
        return Job(self._transport, response.job)

    async def get(self, name: str) -> Job:
        """One job. Raises NotFound."""
        request = pb.GetJobRequest(name=job_name(name))
        response = await self._transport.call("Jobs/GetJob", request, pb.GetJobResponse)
        return Job(self._transport, response.job)

    async def list(
        self,
        limit: int | None = 100,
        *,
        state: str | None = None,
        all_users: bool = False,
    ) -> builtins.list[Job]:
        """Jobs, newest first, without their data; None: all of them."""
        request = pb.ListJobsRequest(all_users=all_users)
        if state is not None:
            request.state = enum_number(pb.JobState, state, "state")
        found = await all_pages(
            self._transport,
            "Jobs/ListJobs",
            request,
            pb.ListJobsResponse,
            "jobs",
            limit,
        )
        return [Job(self._transport, each) for each in found]

    async def diff(self, first: str, second: str) -> JobComparison:
        """How two jobs differ: what was asked, what computed it, their files."""
        request = pb.CompareJobsRequest(
            first_job=job_name(first), second_job=job_name(second)
        )
        response = await self._transport.call(
            "Jobs/CompareJobs", request, pb.CompareJobsResponse
        )
        return JobComparison.of(response)

    async def replay(self, name: str) -> Job:
        """Queues the same job again, to see with diff() whether it gives the same.

        Raises FailedPrecondition unless it succeeded.
        """
        request = pb.ReplayJobRequest(
            name=job_name(name),
            request_id=self._creation.request_id or f"python-{uuid.uuid4()}",
            priority=self._creation.priority,
        )
        response = await self._transport.call(
            "Jobs/ReplayJob", request, pb.ReplayJobResponse
        )
        return Job(self._transport, response.job)
