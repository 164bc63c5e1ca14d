"""Resource names, and words for the API's enumerations."""

from __future__ import annotations

from typing import Any

from .errors import InvalidArgument


def model_name(model: str) -> str:
    """ "models/M" of "M" or "models/M"."""
    return model if model.startswith("models/") else f"models/{model}"


def adapter_name(model: str, adapter: str) -> str:
    """ "models/M/adapters/A" of a model and "A" or the whole name."""
    if adapter.startswith("models/"):
        return adapter
    return f"{model_name(model)}/adapters/{adapter}"


def direction_name(direction: str) -> str:
    """ "directions/D" of "D" or "directions/D"."""
    return (
        direction if direction.startswith("directions/") else f"directions/{direction}"
    )


def job_name(job: str) -> str:
    """ "jobs/J" of "J" or "jobs/J"."""
    return job if job.startswith("jobs/") else f"jobs/{job}"


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def enum_number(kind: Any, word: str, what: str) -> Any:
    """The value of an enumeration for its word, e.g. "last_prompt".

    Raises InvalidArgument, with all words, for one that is none; `what` says of
    what it was given.
    """
    words = enum_words(kind)
    if word not in words:
        known = ", ".join(words)
        raise InvalidArgument(f"{what}: '{word}' is none of {known}")
    return words[word]


def enum_word(kind: Any, number: int) -> str:
    """The word for a value of an enumeration; empty for the unspecified one."""
    for word, value in enum_words(kind).items():
        if value == number:
            return word
    return ""


def enum_words(kind: Any) -> dict[str, int]:
    """Words and values of an enumeration, without the unspecified one."""
    items = kind.items()
    unspecified = next(name for name, number in items if number == 0)
    prefix = unspecified.removesuffix("UNSPECIFIED")
    return {
        name.removeprefix(prefix).lower(): number for name, number in items if number
    }
