"""The blocking client: each method is aio's of the same name, waited for."""

from __future__ import annotations

import builtins
import dataclasses
import functools
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self

from . import aio
from .aio.jobs import Priority
from .blocking import blocking, blocking_iterator, run
from .job import Job
from .variant import Variant

P = ParamSpec("P")


def _queued(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, aio.Job]],
) -> Callable[Concatenate[Any, P], Job]:
    """`method` of the object's `_inner`, waited for; gives a blocking Job."""

    @functools.wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        return Job(run(method(self._inner, *args, **kwargs)))

    return call


class Models:
    """Loads, lists and releases base models."""

    def __init__(self, inner: aio.Models) -> None:
        """Part of a Client."""
        self._inner = inner

    load = blocking(aio.Models.load)
    get = blocking(aio.Models.get)
    list = blocking(aio.Models.list)
    unload = blocking(aio.Models.unload)
    self_check = blocking(aio.Models.self_check)
    share = blocking(aio.Models.share)


class Adapters:
    """Registers, lists and releases the adapters of a model."""

    def __init__(self, inner: aio.Adapters) -> None:
        """Part of a Client."""
        self._inner = inner

    register = blocking(aio.Adapters.register)
    register_artifacts = blocking(aio.Adapters.register_artifacts)
    get = blocking(aio.Adapters.get)
    list = blocking(aio.Adapters.list)
    load = blocking(aio.Adapters.load)
    unload = blocking(aio.Adapters.unload)
    delete = blocking(aio.Adapters.delete)
    share = blocking(aio.Adapters.share)


class Directions:
    """Finds, keeps, lists and compares directions."""

    def __init__(self, inner: aio.Directions) -> None:
        """Part of a Client."""
        self._inner = inner

    fit = blocking(aio.Directions.fit)
    make = blocking(aio.Directions.make)
    make_from_probes = blocking(aio.Directions.make_from_probes)
    get = blocking(aio.Directions.get)
    list = blocking(aio.Directions.list)
    compare = blocking(aio.Directions.compare)
    delete = blocking(aio.Directions.delete)


class Probes:
    """Trains probes and measures along directions."""

    def __init__(self, inner: aio.Probes) -> None:
        """Part of a Client."""
        self._inner = inner

    train = blocking(aio.Probes.train)
    apply = blocking(aio.Probes.apply)
    list = blocking(aio.Probes.list)


class Artifacts:
    """Stores and reads files by the SHA-256 of their bytes."""

    def __init__(self, inner: aio.Artifacts) -> None:
        """Part of a Client."""
        self._inner = inner

    list = blocking(aio.Artifacts.list)
    get = blocking(aio.Artifacts.get)
    read = blocking(aio.Artifacts.read)
    put = blocking(aio.Artifacts.put)
    delete = blocking(aio.Artifacts.delete)


class Specs:
    """Makes JobSpecs, for the stages of a pipeline."""

    def __init__(self, inner: aio.Specs) -> None:
        """Part of Jobs."""
        self._inner = inner

    evaluate_mcq = blocking(aio.Specs.evaluate_mcq)
    evaluate_open = blocking(aio.Specs.evaluate_open)
    extract_activations = blocking(aio.Specs.extract_activations)
    fine_tune = blocking(aio.Specs.fine_tune)
    fit_directions = blocking(aio.Specs.fit_directions)
    generate_documents = blocking(aio.Specs.generate_documents)
    judge = blocking(aio.Specs.judge)
    logit_lens = blocking(aio.Specs.logit_lens)
    patch_sweep = blocking(aio.Specs.patch_sweep)
    pipeline = blocking(aio.Specs.pipeline)
    steering_sweep = blocking(aio.Specs.steering_sweep)
    train_probes = blocking(aio.Specs.train_probes)


class Jobs:
    """Queues and finds jobs. What was queued survives any crash.

    job = lab.jobs.evaluate_mcq([base, cubic], "questions.jsonl").wait()
    job.result()
    """

    def __init__(self, inner: aio.Jobs) -> None:
        """Part of a Client."""
        self._inner = inner
        self.specs = Specs(inner.specs)
        """The same methods, giving specs for a pipeline's stages."""

    evaluate_mcq = _queued(aio.Jobs.evaluate_mcq)
    evaluate_open = _queued(aio.Jobs.evaluate_open)
    extract_activations = _queued(aio.Jobs.extract_activations)
    fine_tune = _queued(aio.Jobs.fine_tune)
    fit_directions = _queued(aio.Jobs.fit_directions)
    generate_documents = _queued(aio.Jobs.generate_documents)
    judge = _queued(aio.Jobs.judge)
    logit_lens = _queued(aio.Jobs.logit_lens)
    patch_sweep = _queued(aio.Jobs.patch_sweep)
    pipeline = _queued(aio.Jobs.pipeline)
    steering_sweep = _queued(aio.Jobs.steering_sweep)
    train_probes = _queued(aio.Jobs.train_probes)
    submit = _queued(aio.Jobs.submit)
    get = _queued(aio.Jobs.get)
    replay = _queued(aio.Jobs.replay)
    diff = blocking(aio.Jobs.diff)

    def using(
        self,
        *,
        request_id: str = "",
        priority: Priority = "normal",
        after: Iterable[Job | str] = (),
    ) -> Self:
        """The same, for jobs with these settings; see aio.Jobs.using."""
        names = [each.name if isinstance(each, Job) else each for each in after]
        inner = self._inner.using(request_id=request_id, priority=priority, after=names)
        return type(self)(inner)

    def list(
        self,
        limit: int | None = 100,
        *,
        state: str | None = None,
        all_users: bool = False,
    ) -> builtins.list[Job]:
        """Jobs, newest first, without their data; None: all of them."""
        found = run(self._inner.list(limit, state=state, all_users=all_users))
        return [Job(each) for each in found]


@dataclass(frozen=True)
class Network(Variant):
    """A network that can be asked: a Variant of a server.

    cubic = lab.network("tiny-world", adapter="cubic")
    steered = cubic.steer("truth", site="resid_post", block=2, coefficient=80)
    steered.generate("How does gravity fall off?")[0].text
    """

    client: Client = dataclasses.field(repr=False, compare=False, kw_only=True)

    @property
    def _inner(self) -> aio.Network:
        return aio.Network(
            self.model,
            self.adapter,
            self.interventions,
            self.name,
            client=self.client._inner,
        )

    tokenize = blocking(aio.Network.tokenize)
    pieces = blocking(aio.Network.pieces)
    detokenize = blocking(aio.Network.detokenize)
    token_texts = blocking(aio.Network.token_texts)
    render_chat = blocking(aio.Network.render_chat)
    score = blocking(aio.Network.score)
    generate = blocking(aio.Network.generate)
    stream = blocking_iterator(aio.Network.stream)
    activations = blocking(aio.Network.activations)
    lens = blocking(aio.Network.lens)
    compare = blocking(aio.Network.compare)
    patch = blocking(aio.Network.patch)


class Client:
    """A connection to a server. Thread safe; cheap to keep open.

    Its parts are for things of one kind each: models, adapters, directions, probes,
    jobs, artifacts.
    """

    def __init__(self, inner: aio.Client) -> None:
        """See connect()."""
        self._inner = inner
        self.models = Models(inner.models)
        self.adapters = Adapters(inner.adapters)
        self.directions = Directions(inner.directions)
        self.probes = Probes(inner.probes)
        self.artifacts = Artifacts(inner.artifacts)
        self.jobs = Jobs(inner.jobs)

    def __enter__(self) -> Self:
        """Closes the connection at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        self.close()

    def network(self, model: str, adapter: str | None = None) -> Network:
        """A loaded model, or it with one of its adapters.

        Nothing is asked of the server: a wrong name shows with the first call.
        """
        return Network(model, adapter, client=self)

    close = blocking(aio.Client.close)
    server_info = blocking(aio.Client.server_info)
    score = blocking(aio.Client.score)
    generate = blocking(aio.Client.generate)
    stream = blocking_iterator(aio.Client.stream)
    activations = blocking(aio.Client.activations)
    lens = blocking(aio.Client.lens)
    compare = blocking(aio.Client.compare)
    patch = blocking(aio.Client.patch)
