"""Groups of options, named and meant as in the public API's messages.

What is left at None takes the server's default, which proto/dissonance/v1 states.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from google.protobuf.message import Message

from .errors import InvalidArgument
from .names import enum_number
from .v1 import (
    interp_jobs_pb2,
    language_jobs_pb2,
    probes_pb2,
    training_pb2,
)

M = TypeVar("M", bound=Message)

McqScoring = Literal[
    "letter_variants",
    "letter_first_token",
    "option_text",
    "option_text_per_byte",
    "cloze",
    "cloze_per_byte",
]
DirectionMethod = Literal[
    "mean_difference", "contrast_pca", "variant_difference", "given", "probe"
]


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Which modules an adapter changes, and how; named as PEFT's LoraConfig."""

    rank: int | None = None
    """64."""
    alpha: float | None = None
    """Twice the rank."""
    dropout: float | None = None
    """0.05."""
    rank_stabilized: bool | None = None
    target_modules: Sequence[str] | None = None
    """The projections of the attention."""
    excluded_modules: Sequence[str] | None = None
    blocks: Sequence[int] | None = None
    """All."""
    rank_pattern: Mapping[str, float] | None = None
    alpha_pattern: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Training:
    """How an adapter is trained: AdamW over packed documents."""

    epoch_count: int | None = None
    """3."""
    max_step_count: int | None = None
    learning_rate: float | None = None
    """2e-4."""
    schedule: Literal["linear", "cosine", "constant"] | None = None
    warmup_step_count: int | None = None
    micro_batch_size: int | None = None
    """4."""
    accumulation_count: int | None = None
    """4."""
    weight_decay: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    epsilon: float | None = None
    max_grad_norm: float | None = None
    """1; 0: gradients stay as they are."""
    max_length_tokens: int | None = None
    """2048."""
    seed: int | None = None
    """42."""
    assistant_only_loss: bool | None = None
    activation_checkpointing: bool | None = None
    validation_fraction: float | None = None
    validation_step_count: int | None = None
    early_stop_patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """What is kept of a training under way."""

    step_count: int | None = None
    """50."""
    keep_count: int | None = None
    """2."""
    register_adapters: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Probing:
    """How probes are fitted and judged; scikit-learn's logistic regression."""

    method: Literal["logistic", "ridge", "mass_mean", "lda"] | None = None
    c_values: Sequence[float] | None = None
    """[0.1]."""
    intercept: Literal["free", "penalized"] | None = None
    skip_scaling: bool | None = None
    fold_count: int | None = None
    """5."""
    fold_of_input: Sequence[int] | None = None
    test_fraction: float | None = None
    """0.2."""
    seed: int | None = None
    """42."""
    permutation_count: int | None = None
    """20 fits to shuffled labels; 0: no controls."""
    bootstrap_count: int | None = None
    """1000."""
    tolerance: float | None = None
    max_iteration_count: int | None = None
    shrinkage: float | None = None
    transfer: bool | None = None
    """Test each network's probes on the others' rows."""


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """A hosted chat model, asked with the keys that the server has."""

    model: str
    endpoint: str | None = None
    """"default"."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """2048."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a probe of a job tells apart.

    `source` is category_conflict, conflict_vs_hard, world_label_true,
    difficulty_hard, answered_false, or field: then `field` names a label of the
    rows and `values` its values by class, from class 0 (empty: all, sorted).
    """

    source: Literal[
        "category_conflict",
        "conflict_vs_hard",
        "world_label_true",
        "difficulty_hard",
        "answered_false",
        "field",
    ]
    field: str | None = None
    values: Sequence[str] | None = None


MESSAGES: dict[type[Any], type[Message]] = {
    Lora: training_pb2.LoraOptions,
    Training: training_pb2.TrainingOptions,
    Checkpoints: training_pb2.CheckpointOptions,
    Probing: probes_pb2.ProbeOptions,
    Hosted: language_jobs_pb2.HostedModel,
    Label: interp_jobs_pb2.LabelRule,
}


def option_message(options: Any) -> Any:
    """The API's message of a group of options; None stays unset."""
    if options is None:
        return None
    values = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
    }
    return fill(MESSAGES[type(options)], values)


def fill(kind: type[M], values: Mapping[str, Any]) -> M:
    """A message with those values that are not None; enumerations as their words."""
    fields = kind.DESCRIPTOR.fields_by_name
    given = {}
    for name, value in values.items():
        if value is not None:
            given[name] = _value(fields[name], value)
    return kind(**given)


def _value(field: Any, value: Any) -> Any:
    if field.enum_type is not None and isinstance(value, str):
        return enum_number(_Words(field), value, field.name)
    if isinstance(value, Mapping):
        return [
            training_pb2.ModulePattern(pattern=pattern, value=number)
            for pattern, number in value.items()
        ]
    return value


class _Words:
    """An enumeration by its descriptor, as enum_number takes one."""

    def __init__(self, field: Any) -> None:
        self._values = field.enum_type.values

    def items(self) -> list[tuple[str, int]]:
        return [(each.name, each.number) for each in self._values]


def label_message(label: Label | str) -> interp_jobs_pb2.LabelRule:
    """A label's rule; "label:FIELD" is a label of the rows, as on the command line."""
    if isinstance(label, str):
        if label.startswith("label:"):
            label = Label(source="field", field=label.removeprefix("label:"))
        else:
            label = Label(source=label)  # type: ignore[arg-type]
    if label.source == "field" and not label.field:
        raise InvalidArgument("label: source field needs the field's name")
    message: interp_jobs_pb2.LabelRule = option_message(label)
    return message
