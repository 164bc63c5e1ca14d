"""This software, as a client sees it: a server of our own.

with Server(binaries) as server:
    server.load_model("llama", path)
    scores = server.score("models/llama", items)
"""

import importlib
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
from grpc_tools import protoc
from harness import Scores
from items import Item, Row, Steering

ROOT = Path(__file__).resolve().parent.parent
CALL_SECONDS = 600


def generate_stubs(folder: Path) -> None:
    """Python modules of the public API, on sys.path from now on."""
    protos = sorted((ROOT / "proto/dissonance/v1").glob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{ROOT / 'proto'}",
        f"-I{well_known}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        *map(str, protos),
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed")
    sys.path.insert(0, str(folder))


def stubs(name: str) -> tuple[ModuleType, ModuleType]:
    """Messages and services of dissonance/v1/NAME.proto."""
    return (
        importlib.import_module(f"dissonance.v1.{name}_pb2"),
        importlib.import_module(f"dissonance.v1.{name}_pb2_grpc"),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Trained:
    """What a training came to, by its own figures."""

    losses: list[float]  # of each step
    seconds: list[float]  # that the worker gave to each
    tokens: int


class Server:
    """dissonanced and its worker on a data directory that goes with them.

    Without `tcp` it listens on a Unix socket only, so that it can't collide
    with a server of the user's.
    """

    def __init__(self, binaries: Path, tcp: bool = False):
        self._cli = binaries / "dissonance"
        self._reader = binaries / "dissonance-bench-stream"
        # A short path: a socket's name has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="dissonance-bench-"))
        self._data = self._folder / "data"
        self._config = self._folder / "dissonanced.toml"
        # The command line finds the server by its socket.
        listen = ["unix"]
        self._target = f"unix:{self._data / 'dissonance.sock'}"
        if tcp:
            self._target = f"127.0.0.1:{free_port()}"
            listen.append(self._target)
        self._config.write_text(f"listen = {json.dumps(listen)}\n")
        stub_folder = self._folder / "stubs"
        stub_folder.mkdir()
        generate_stubs(stub_folder)
        self._inference, inference_grpc = stubs("inference")
        self._common, _ = stubs("common")
        self._models, models_grpc = stubs("models")
        self._admin, admin_grpc = stubs("admin")
        self._jobs, jobs_grpc = stubs("jobs")
        self._artifacts, artifacts_grpc = stubs("artifacts")
        self._training, _ = stubs("training")
        self._interpretability, _ = stubs("interpretability")
        self._services = (
            inference_grpc.InferenceStub,
            models_grpc.ModelsStub,
            admin_grpc.AdminStub,
            jobs_grpc.JobsStub,
            artifacts_grpc.ArtifactsStub,
        )

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        self._run("server", "start", "--config", str(self._config))
        self._token = (self._data / "owner.token").read_text().strip()
        self._metadata = [("authorization", f"Bearer {self._token}")]
        self._channel = grpc.insecure_channel(
            self._target,
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
            ],
        )
        (
            self._inferring,
            self._model,
            self._server,
            self._job,
            self._artifact,
        ) = (service(self._channel) for service in self._services)

    def stop(self) -> None:
        if hasattr(self, "_channel"):
            self._channel.close()
        self._run("server", "stop")

    def _run(self, *arguments: str) -> None:
        command = [str(self._cli), "--data-dir", str(self._data), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")

    def _call(self, method: Any, request: Any) -> Any:
        return method(request, metadata=self._metadata, timeout=CALL_SECONDS)

    def load_model(self, name: str, path: Path) -> str:
        """The resource name."""
        response = self._call(
            self._model.LoadModel,
            self._models.LoadModelRequest(
                name=f"models/{name}",
                path=str(path.resolve()),
                dtype=self._common.DTYPE_FLOAT32,
            ),
        )
        return response.model.name

    def register_adapter(self, model: str, name: str, path: Path) -> str:
        response = self._call(
            self._model.RegisterAdapter,
            self._models.RegisterAdapterRequest(
                name=f"{model}/adapters/{name}", path=str(path.resolve())
            ),
        )
        return response.adapter.name

    def _request(self, model: str, adapter: str, items: list[Item]) -> Any:
        request = self._inference.ScoreRequest()
        request.variants.add(model=model, adapter=adapter)
        for number, item in enumerate(items):
            entry = request.items.add()
            entry.prompt.id = str(number)
            entry.prompt.tokens.ids.extend(item.prompt)
            for continuation in item.continuations:
                entry.continuations.add().tokens.ids.extend(continuation)
        return request

    def score(self, model: str, items: list[Item]) -> Scores:
        """All items in one call."""
        request = self._request(model, "", items)
        return logprobs(self._call(self._inferring.Score, request))

    def sweep(
        self, model: str, settings: list[Steering], items: list[Item]
    ) -> Scores:
        """All items under all settings in one call, by setting."""
        request = self._request(model, "", items)
        del request.variants[:]
        for setting in settings:
            variant = request.variants.add(model=model)
            change = variant.interventions.add(
                site=self._common.SITE_RESID_POST, blocks=setting.blocks
            )
            change.add.coefficient = setting.coefficient
            tensor = change.add.vector.tensor
            tensor.dtype = self._common.DTYPE_FLOAT32
            tensor.shape.append(len(setting.vector))
            tensor.data = struct.pack(
                f"<{len(setting.vector)}f", *setting.vector
            )
        return logprobs(self._call(self._inferring.Score, request))

    def score_rows(
        self, model: str, adapters: list[str], rows: list[Row]
    ) -> Scores:
        """A call for each row, all at once: the server batches them."""
        calls = [
            self._inferring.Score.future(
                self._request(model, adapters[row.adapter], [row.item]),
                metadata=self._metadata,
                timeout=CALL_SECONDS,
            )
            for row in rows
        ]
        return [logprobs(call.result())[0] for call in calls]

    def token_times(
        self, model: str, prompt: list[int], new_tokens: int
    ) -> Iterator[float]:
        """When each token of a greedy generation arrived, in seconds."""
        request = self._inference.GenerateRequest()
        request.variants.add(model=model)
        request.inputs.add().tokens.ids.extend(prompt)
        request.options.max_new_token_count = new_tokens
        request.options.ignore_eos = True
        for response in self._call(self._inferring.Generate, request):
            for _ in response.delta.tokens:
                yield time.perf_counter()

    def evaluate(self, variants: list[tuple[str, str]], data: bytes) -> None:
        """Runs an evaluation of models with adapters to its end."""
        request = self._jobs.RunJobRequest(cancel_on_disconnect=True)
        spec = request.spec.evaluate_mcq
        spec.data = data
        for model, adapter in variants:
            spec.variants.add(model=model, adapter=adapter)
        self._run_job(request)

    def _run_job(self, request: Any) -> tuple[Any, list[Any]]:
        """The job, once it has succeeded, and the points of its curves."""
        last, points = None, []
        for last in self._call(self._job.RunJob, request):
            if last.event.HasField("metrics"):
                points.append(last.event.metrics)
        if last.job.state != self._jobs.JOB_STATE_SUCCEEDED:
            raise RuntimeError(f"the job ended: {last.job.reason}")
        return last.job, points

    def _output(self, job: Any, name: str) -> bytes:
        output = next(o for o in job.outputs if o.file_name == name)
        request = self._artifacts.ReadArtifactRequest(name=output.artifact)
        pieces = self._call(self._artifact.ReadArtifact, request)
        return b"".join(piece.data for piece in pieces)

    def fine_tune(
        self, model: str, adapter: str, texts: list[str], **options: Any
    ) -> Trained:
        """Trains on, from an adapter, without dropout and at a constant rate;
        `options` are fields of TrainingOptions."""
        request = self._jobs.RunJobRequest(cancel_on_disconnect=True)
        spec = request.spec.fine_tune
        spec.model = model
        spec.adapter = adapter
        spec.output_adapter = f"{model}/adapters/trained"
        spec.replace = True
        lines = [json.dumps({"content": text}) + "\n" for text in texts]
        spec.data = "".join(lines).encode()
        spec.lora.dropout = 0.0
        spec.training.schedule = self._training.LEARNING_RATE_SCHEDULE_CONSTANT
        for name, value in options.items():
            setattr(spec.training, name, value)
        job, points = self._run_job(request)
        rows = [
            json.loads(line)
            for line in self._output(job, "training.jsonl").splitlines()
        ]
        rates = {
            point.step: point.values["tokens_per_second"] for point in points
        }
        return Trained(
            [row["loss"] for row in rows],
            [row["tokens"] / rates[row["step"]] for row in rows],
            sum(row["tokens"] for row in rows),
        )

    def stream(
        self, model: str, prompts: list[list[int]], sites: list[str]
    ) -> dict[str, Any]:
        """Streams activations of all blocks and positions to a client that
        only counts them; what dissonance-bench-stream prints."""
        request = self._interpretability.StreamActivationsRequest()
        request.variants.add(model=model)
        for prompt in prompts:
            request.inputs.add().tokens.ids.extend(prompt)
        request.capture.sites.extend(
            self._common.Site.Value(f"SITE_{site.upper()}") for site in sites
        )
        return self._read(
            "grpc", self._target, self._token, input=request.SerializeToString()
        )

    def stream_tcp(self, count: int) -> dict[str, Any]:
        """As many bytes through plain TCP."""
        return self._read("tcp", str(count))

    def _read(self, *arguments: str, input: bytes = b"") -> dict[str, Any]:
        done = subprocess.run(
            [str(self._reader), *arguments], input=input, capture_output=True
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode().strip())
        return json.loads(done.stdout)

    def pids(self) -> tuple[int, int]:
        """Process numbers of the control plane and its worker."""
        control = int((self._data / "dissonanced.pid").read_text().split()[0])
        info = self._call(
            self._server.ServerInfo, self._admin.ServerInfoRequest()
        )
        return control, next(w.pid for w in info.workers if w.pid)

    def seconds_until_resident(self, model: str) -> float:
        """Restarts the server and waits until it has loaded `model` again."""
        self.stop()
        start = time.perf_counter()
        self.start()
        while True:
            try:
                request = self._models.GetModelRequest(name=model)
                if self._call(self._model.GetModel, request).model.resident:
                    return time.perf_counter() - start
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            if time.perf_counter() - start > CALL_SECONDS:
                raise RuntimeError(f"{model} is not resident after a restart")
            time.sleep(0.005)


def logprobs(response: Any) -> Scores:
    return [[c.logprob for c in item.continuations] for item in response.scores]
