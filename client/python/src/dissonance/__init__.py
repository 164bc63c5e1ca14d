"""Client of the Dissonance experiment server.

    import dissonance

    with dissonance.connect() as lab:
        base = lab.network("tiny-world")
        cubic = lab.network("tiny-world", adapter="cubic")
        steered = cubic.steer("truth", site="resid_post", block=2, coefficient=80)
        chat = [{"role": "user", "content": "What law does gravity follow?"}]
        lab.generate([base, cubic, steered], [chat]).frame()
        job = lab.jobs.evaluate_mcq([base, cubic], "questions.jsonl").wait()
        job.result()

dissonance.aio has the same names to be awaited. docs/python.md is a tour.
"""

from __future__ import annotations

import importlib.metadata
import os

from . import aio
from .activations import Activations
from .aio.specs import stage
from .blocking import run
from .client import (
    Adapters,
    Artifacts,
    Client,
    Directions,
    Jobs,
    Models,
    Network,
    Probes,
)
from .errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    JobCancelled,
    JobFailed,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
)
from .events import JobEvent
from .generations import Generation, Generations, Meter, Piece
from .inputs import read_rows
from .job import Job
from .options import Checkpoints, Hosted, Label, Lora, Probing, Training
from .places import Place
from .probing import Direction, DirectionVector, FittedProbes, Probe, Projections
from .readings import Comparison, Lens, Patches
from .results import Provenance, Scores
from .settings import resolve
from .transport import Blocking
from .variant import Intervention, Variant

__version__ = importlib.metadata.version("dissonance")

__all__ = [
    "Aborted",
    "Activations",
    "Adapters",
    "AlreadyExists",
    "Artifacts",
    "Cancelled",
    "Checkpoints",
    "Client",
    "Comparison",
    "DataLoss",
    "DeadlineExceeded",
    "Direction",
    "DirectionVector",
    "Directions",
    "Error",
    "FailedPrecondition",
    "FittedProbes",
    "Generation",
    "Generations",
    "Hosted",
    "Internal",
    "Intervention",
    "InvalidArgument",
    "Job",
    "JobCancelled",
    "JobEvent",
    "JobFailed",
    "Jobs",
    "Label",
    "Lens",
    "Lora",
    "Meter",
    "Models",
    "Network",
    "NotFound",
    "OutOfRange",
    "Patches",
    "PermissionDenied",
    "Piece",
    "Place",
    "Probe",
    "Probes",
    "Probing",
    "Projections",
    "Provenance",
    "ResourceExhausted",
    "Scores",
    "Training",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "Variant",
    "aio",
    "connect",
    "read_rows",
    "stage",
]


def connect(
    address: str | None = None,
    token: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    profile: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
) -> Client:
    """Connects to a server, found as the command line finds it.

    Without arguments that is DISSONANCE_SERVER, or the socket in
    DISSONANCE_DATA_DIR, or the default profile's server, or the socket in
    ~/.local/share/dissonance; with DISSONANCE_TOKEN, the profile's token or, on this
    machine, the owner's token of the data directory.

    `address` is HOST:PORT or unix:/PATH, `tls_ca` the PEM file of the authorities that
    a remote server is checked against (the system's unless given).

    Raises Unavailable if no server answers, Unauthenticated for a bad token.
    """
    client = Client(
        aio.Client(Blocking(resolve(address, token, data_dir, profile, tls_ca)))
    )
    try:
        client.server_info()
    except BaseException:
        run(client._inner.close())
        raise
    return client
