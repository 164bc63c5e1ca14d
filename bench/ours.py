"""This software, as a client sees it: a server of our own, and its engine.

    with Server(binaries) as server:
        server.load_model("llama", path)
        scores = server.score("models/llama", items)
"""

import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
from grpc_tools import protoc
from items import Item, Row

Scores = list[list[float]]

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


class Server:
    """dissonanced and its worker on a data directory that goes with them."""

    def __init__(self, binaries: Path):
        self._cli = binaries / "dissonance"
        # A short path: a socket's name has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="dissonance-bench-"))
        self._data = self._folder / "data"
        self._config = self._folder / "dissonanced.toml"
        self._config.write_text('listen = ["unix"]\n')
        stub_folder = self._folder / "stubs"
        stub_folder.mkdir()
        generate_stubs(stub_folder)
        self._inference, inference_grpc = stubs("inference")
        self._common, _ = stubs("common")
        self._models, models_grpc = stubs("models")
        self._admin, admin_grpc = stubs("admin")
        self._services = (
            inference_grpc.InferenceStub,
            models_grpc.ModelsStub,
            admin_grpc.AdminStub,
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
        # Without a TCP port it can't collide with a server of the user's.
        self._run("server", "start", "--config", str(self._config))
        token = (self._data / "owner.token").read_text().strip()
        self._metadata = [("authorization", f"Bearer {token}")]
        self._channel = grpc.insecure_channel(
            f"unix:{self._data / 'dissonance.sock'}",
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
            ],
        )
        self._score, self._model, self._server = (
            service(self._channel) for service in self._services
        )

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
        return logprobs(self._call(self._score.Score, request))

    def score_rows(self, model: str, adapters: list[str], rows: list[Row]) -> Scores:
        """A call for each row, all at once: the server batches them."""
        calls = [
            self._score.Score.future(
                self._request(model, adapters[row.adapter], [row.item]),
                metadata=self._metadata,
                timeout=CALL_SECONDS,
            )
            for row in rows
        ]
        return [logprobs(call.result())[0] for call in calls]

    def pids(self) -> tuple[int, int]:
        """Process numbers of the control plane and its worker."""
        control = int((self._data / "dissonanced.pid").read_text().split()[0])
        info = self._call(self._server.ServerInfo, self._admin.ServerInfoRequest())
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


class EngineProcess:
    """The engine without server and wire, in a process of its own."""

    def __init__(self, binaries: Path, model: Path):
        program = binaries / "dissonance-bench-engine"
        if not program.exists():
            raise RuntimeError(f"{program} is not built")
        self._process = subprocess.Popen(
            [str(program), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.stdin.close()
        self._process.wait()

    def score(self, items: list[Item]) -> tuple[float, Scores]:
        """Seconds inside the engine, and the scores."""
        request = {
            "items": [
                {"prompt": i.prompt, "continuations": i.continuations} for i in items
            ]
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("dissonance-bench-engine ended; see its message")
        answer = json.loads(line)
        return answer["seconds"], answer["scores"]
