"""Errors of the server and of this client, as exceptions.

try:
    lab.models.get("llama")
except dissonance.NotFound as error:
    print(error.message)    # what the server said
    print(error.hints)      # what to do next, line by line
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2


class Error(Exception):
    """Something that the server or this client refused or could not do.

    `message` says what was wrong and where, `hints` what to do next; str() has
    both. `code` is gRPC's name of the kind of error.
    """

    code: str = "UNKNOWN"

    def __init__(self, message: str, hints: Iterable[str] = ()) -> None:
        """An error with a message and hints for whoever reads it."""
        self.message = message
        self.hints = tuple(hints)
        super().__init__("\n  ".join((message, *self.hints)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes."""
        return type(self), (self.message, self.hints)


class Cancelled(Error):
    """The call was cancelled."""

    code = "CANCELLED"


class Unknown(Error):
    """The server said no more."""


class InvalidArgument(Error, ValueError):
    """What was asked makes no sense; the message names the field."""

    code = "INVALID_ARGUMENT"


class DeadlineExceeded(Error, TimeoutError):
    """The answer did not come in time."""

    code = "DEADLINE_EXCEEDED"


class NotFound(Error, LookupError):
    """There is nothing of that name that the caller may see."""

    code = "NOT_FOUND"


class AlreadyExists(Error):
    """The name is taken by something else."""

    code = "ALREADY_EXISTS"


class PermissionDenied(Error):
    """The token's scope does not allow the call."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(Error):
    """A quota, a limit or memory was reached."""

    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(Error):
    """Not in this state: mend the state first."""

    code = "FAILED_PRECONDITION"


class Aborted(Error):
    """Something else came in between."""

    code = "ABORTED"


class OutOfRange(Error):
    """Beyond the end of what there is."""

    code = "OUT_OF_RANGE"


class Unimplemented(Error):
    """This server does not do that."""

    code = "UNIMPLEMENTED"


class Internal(Error):
    """A defect of the server."""

    code = "INTERNAL"


class Unavailable(Error, ConnectionError):
    """The server or its worker is not there now."""

    code = "UNAVAILABLE"


class DataLoss(Error):
    """Bytes are not those that they should be."""

    code = "DATA_LOSS"


class Unauthenticated(Error):
    """The token is missing, unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class JobFailed(Error):
    """A job that was waited for failed; the message has its reason."""

    code = "ABORTED"


class JobCancelled(Cancelled):
    """A job that was waited for was cancelled."""


_BY_CODE: dict[str, type[Error]] = {
    kind.code: kind for kind in Error.__subclasses__() if kind is not JobFailed
}


def from_rpc(error: grpc.RpcError, token_source: str, target: str) -> Error:
    """The exception for a call that failed, with what to do next where known."""
    code: str = error.code().name
    message: str = error.details() or code
    hints = [*_details(error.trailing_metadata()), *_hints(code, token_source, target)]
    return _BY_CODE.get(code, Unknown)(message, hints)


def _hints(code: str, token_source: str, target: str) -> list[str]:
    if code == "UNAUTHENTICATED":
        if token_source:
            return [f"the token came from {token_source}; give another as token="]
        return [
            "no token was found: give one as token= or set DISSONANCE_TOKEN; the "
            "server's owner finds one in owner.token of its data directory"
        ]
    if code == "PERMISSION_DENIED":
        return [
            "a token has the scope read, run or admin, each with what those before "
            "it may do; server_info().caller shows yours"
        ]
    if code == "UNAVAILABLE":
        return [
            f"the server is {target}; 'dissonance server status' and 'dissonance "
            "server logs' say what happened, 'dissonance server start' starts one"
        ]
    if code == "DEADLINE_EXCEEDED":
        return [
            f"the server at {target} is busy or stuck; 'dissonance server logs' "
            "may say why"
        ]
    return []


def _details(metadata: Iterable[Any] | None) -> list[str]:
    """What the google.rpc details of a failed call say, a line each."""
    for key, value in metadata or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            return [line for any_ in status.details for line in _detail_lines(any_)]
    return []


def _detail_lines(detail: Any) -> list[str]:
    bad = error_details_pb2.BadRequest()
    if detail.Unpack(bad):
        return [f"{each.field}: {each.description}" for each in bad.field_violations]
    info = error_details_pb2.ErrorInfo()
    if detail.Unpack(info):
        return [f"reason: {info.reason}"]
    retry = error_details_pb2.RetryInfo()
    if detail.Unpack(retry):
        return [f"try again in {retry.retry_delay.ToTimedelta().total_seconds():g} s"]
    help_ = error_details_pb2.Help()
    if detail.Unpack(help_):
        return [f"{each.description}: {each.url}" for each in help_.links]
    return []
