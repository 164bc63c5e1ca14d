"""Retries, error details and TLS, against a server of the test's own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import dissonance
import grpc
import pytest
from conftest import MCQS
from dissonance import settings
from dissonance.blocking import run
from dissonance.transport import Blocking
from dissonance.v1 import admin_pb2, inference_pb2, jobs_pb2, models_pb2
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

STREAMS = ("Inference/Generate",)
Answer = Callable[[bytes, grpc.ServicerContext], Any]


class FakeServer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers each method as it was told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "Admin/ServerInfo": lambda *_: admin_pb2.ServerInfoResponse(version="1")
        }
        self.asked: list[tuple[str, bytes]] = []
        self.tokens: set[str] = set()

    def service(self, call: Any) -> Any:
        method = call.method.removeprefix("/dissonance.v1.")
        self.tokens |= {v for k, v in call.invocation_metadata if k == "authorization"}

        def answer(request: bytes, context: grpc.ServicerContext) -> Any:
            self.asked.append((method, request))
            return self.answers[method](request, context)

        kind = (
            grpc.unary_stream_rpc_method_handler
            if method in STREAMS
            else grpc.unary_unary_rpc_method_handler
        )
        return kind(
            answer, response_serializer=lambda message: message.SerializeToString()
        )

    def count(self, method: str) -> int:
        return sum(each == method for each, _ in self.asked)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeServer, str]]:
    """A server and its address; nobody waits between attempts."""
    monkeypatch.setattr("dissonance.transport.time.sleep", lambda _: None)
    handler = FakeServer()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(None)


def failing(times: int, response: Any) -> Answer:
    """UNAVAILABLE so many times, then `response`."""
    left = [times]

    def answer(_: bytes, context: grpc.ServicerContext) -> Any:
        if left[0] > 0:
            left[0] -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the worker starts again")
        return response

    return answer


def test_reads_are_repeated_while_the_worker_is_away(
    fake: tuple[FakeServer, str],
) -> None:
    server, address = fake
    server.answers["Models/GetModel"] = failing(2, models_pb2.GetModelResponse())
    with dissonance.connect(address, token="secret") as lab:
        lab.models.get("m")
    assert server.count("Models/GetModel") == 3
    assert server.tokens == {"Bearer secret"}


def test_repeating_ends_with_what_the_server_said(
    fake: tuple[FakeServer, str],
) -> None:
    server, address = fake
    server.answers["Models/GetModel"] = failing(99, None)
    with (
        dissonance.connect(address) as lab,
        pytest.raises(dissonance.Unavailable, match="the worker starts again"),
    ):
        lab.models.get("m")
    assert server.count("Models/GetModel") == 6


def test_changes_are_not_repeated(fake: tuple[FakeServer, str]) -> None:
    server, address = fake
    server.answers["Models/UnloadModel"] = failing(1, None)
    with (
        dissonance.connect(address) as lab,
        pytest.raises(dissonance.Unavailable),
    ):
        lab.models.unload("m")
    assert server.count("Models/UnloadModel") == 1


def test_job_is_created_again_under_the_same_id(fake: tuple[FakeServer, str]) -> None:
    server, address = fake
    job = jobs_pb2.Job(name="jobs/1", state=jobs_pb2.JOB_STATE_QUEUED)
    answer = jobs_pb2.CreateJobResponse(job=job)
    server.answers["Jobs/CreateJob"] = failing(1, answer)
    with dissonance.connect(address) as lab:
        made = lab.jobs.evaluate_mcq(lab.network("m"), MCQS)
        again = lab.jobs.evaluate_mcq(lab.network("m"), MCQS)
    assert made.state == again.state == "queued"
    requests = [
        jobs_pb2.CreateJobRequest.FromString(request)
        for method, request in server.asked
        if method == "Jobs/CreateJob"
    ]
    ids = [each.request_id for each in requests]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("python-")


def test_error_in_a_stream_cancels_the_call(
    fake: tuple[FakeServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = fake
    ended = threading.Event()

    def answer(_: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
        context.add_callback(ended.set)
        yield inference_pb2.GenerateResponse()
        ended.wait(60)

    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    server.answers["Inference/Generate"] = answer
    monkeypatch.setattr("dissonance.generations.Collector.add", refuse)
    with dissonance.connect(address) as lab:
        with pytest.raises(KeyboardInterrupt) as caught:
            next(lab.network("m").stream("a"))
        # A notebook keeps the traceback, and with it all that was in use.
        assert caught.tb is not None
        assert ended.wait(30)


def test_other_machines_are_never_talked_to_in_the_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("in the clear")

    monkeypatch.setattr(grpc, "insecure_channel", refuse)
    run(Blocking(settings.resolve("far.example:1", token="t")).close())
    with pytest.raises(AssertionError):
        Blocking(settings.resolve("127.0.0.1:1", token="t"))


def test_details_of_an_error_become_hints(fake: tuple[FakeServer, str]) -> None:
    server, address = fake
    details = [
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(
                    field="spec.data", description="not JSON"
                )
            ]
        ),
        error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=3)),
        error_details_pb2.ErrorInfo(reason="QUOTA"),
    ]

    def answer(_: bytes, context: grpc.ServicerContext) -> None:
        packed = [any_pb2.Any() for _ in details]
        for each, detail in zip(packed, details, strict=True):
            each.Pack(detail)
        status = status_pb2.Status(code=8, message="too much", details=packed)
        wire = (("grpc-status-details-bin", status.SerializeToString()),)
        context.set_trailing_metadata(wire)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")

    server.answers["Models/GetModel"] = answer
    with (
        dissonance.connect(address) as lab,
        pytest.raises(dissonance.ResourceExhausted) as caught,
    ):
        lab.models.get("m")
    assert caught.value.message == "too much"
    assert caught.value.hints == (
        "spec.data: not JSON",
        "try again in 3 s",
        "reason: QUOTA",
    )
    assert str(caught.value) == "\n  ".join(("too much", *caught.value.hints))


def test_bad_token_says_where_it_came_from(
    fake: tuple[FakeServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = fake

    def answer(_: bytes, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown token")

    server.answers["Admin/ServerInfo"] = answer
    monkeypatch.setenv("DISSONANCE_TOKEN", "old")
    with pytest.raises(dissonance.Unauthenticated, match="came from DISSONANCE_TOKEN"):
        dissonance.connect(address)


def test_remote_servers_are_checked_against_the_named_authority(
    tmp_path: Path,
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    handler = FakeServer()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    address = f"localhost:{port}"
    with dissonance.connect(address, token="secret", tls_ca=certificate) as lab:
        assert lab.server_info().version == "1"
    with pytest.raises(dissonance.Unavailable):
        dissonance.connect(address, token="secret")
    with pytest.raises(dissonance.NotFound, match=r"tls_ca_file: .*none\.pem"):
        dissonance.connect(address, token="secret", tls_ca=tmp_path / "none.pem")
    server.stop(None)
