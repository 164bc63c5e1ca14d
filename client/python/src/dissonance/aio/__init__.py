"""The asynchronous client: the same names as dissonance, to be awaited.

async with dissonance.aio.connect() as lab:
    cubic = lab.network("tiny-world", adapter="cubic")
    scores = await cubic.score("2 + 2 =", [" 4", " 5"])
    async for piece in cubic.stream("Once"):
        print(piece.text, end="")
    job = await lab.jobs.evaluate_mcq([cubic], "questions.jsonl")
    await job.wait()
"""

from __future__ import annotations

import os

from ..settings import resolve
from ..transport import Asyncio
from .adapters import Adapters
from .artifacts import Artifacts
from .client import Client
from .directions import Directions
from .job import Job
from .jobs import Jobs
from .models import Models
from .network import Network
from .probes import Probes
from .specs import Specs

__all__ = [
    "Adapters",
    "Artifacts",
    "Client",
    "Directions",
    "Job",
    "Jobs",
    "Models",
    "Network",
    "Probes",
    "Specs",
    "connect",
]


def connect(
    address: str | None = None,
    token: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    profile: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
) -> Client:
    """A client of the server that dissonance.connect() would find.

    `async with` asks the server who it is first; without it the first call does.
    """
    settings = resolve(address, token, data_dir, profile, tls_ca)
    return Client(Asyncio(settings))
