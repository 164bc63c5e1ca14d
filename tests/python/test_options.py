"""Options and specs say what the public API's messages say. Needs no server."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import dissonance
import numpy as np
import pytest
from dissonance import job_files, options, probing
from dissonance.aio.specs import Specs
from dissonance.blocking import run
from dissonance.v1 import common_pb2, jobs_pb2, training_pb2

BASE = dissonance.Variant("m")
CUBIC = dissonance.Variant("m", "a")


def spec(kind: str, *arguments: Any, **more: Any) -> Any:
    made = run(getattr(Specs(None), kind)(*arguments, **more))  # type: ignore[arg-type]
    assert made.WhichOneof("kind") == kind
    return getattr(made, kind)


@pytest.mark.parametrize("group", options.MESSAGES)
def test_groups_of_options_have_the_fields_of_their_message(group: type[Any]) -> None:
    own = {field.name for field in dataclasses.fields(group)}
    assert own == set(options.MESSAGES[group].DESCRIPTOR.fields_by_name)


def test_every_kind_of_job_has_a_method() -> None:
    kinds = jobs_pb2.JobSpec.DESCRIPTOR.oneofs_by_name["kind"].fields
    for kind in kinds:
        assert hasattr(dissonance.Jobs, kind.name)
        assert hasattr(dissonance.aio.Jobs, kind.name)
        assert hasattr(dissonance.aio.Specs, kind.name)


def test_unset_options_stay_unset() -> None:
    message = options.option_message(dissonance.Lora(rank=8, dropout=0.0))
    assert message.rank == 8
    assert message.HasField("dropout")
    assert not options.option_message(dissonance.Lora()).HasField("dropout")


def test_words_become_enumerations() -> None:
    message = options.option_message(dissonance.Training(schedule="cosine"))
    assert message.schedule == training_pb2.LEARNING_RATE_SCHEDULE_COSINE
    with pytest.raises(dissonance.InvalidArgument, match="none of linear, cosine"):
        options.option_message(dissonance.Training(schedule="steps"))  # type: ignore[arg-type]


def test_patterns_are_given_as_a_mapping() -> None:
    message = options.option_message(dissonance.Lora(rank_pattern={"q_proj": 4}))
    assert message.rank_pattern[0].pattern == "q_proj"
    assert message.rank_pattern[0].value == 4


@pytest.mark.parametrize(
    "data",
    [
        [{"id": "ä", "n": 1}],
        ({"id": "ä", "n": 1} for _ in range(1)),
        '{"id": "ä", "n": 1}\n'.encode(),
    ],
)
def test_data_are_rows_or_bytes(data: Any) -> None:
    made = spec("evaluate_mcq", [BASE, CUBIC], data, scoring="option_text")
    assert json.loads(made.data) == {"id": "ä", "n": 1}
    assert [each.adapter for each in made.variants] == ["", "models/m/adapters/a"]


def test_data_may_be_a_file_or_an_artifact(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("{}\n")
    for each in (path, str(path)):
        made = spec("evaluate_mcq", BASE, each)
        assert (made.data, made.data_name) == (b"{}\n", "questions.jsonl")
    name = "artifacts/sha256:" + "0" * 64
    made = spec("evaluate_mcq", BASE, name)
    assert (made.data, made.data_artifact) == (b"", name)
    with pytest.raises(FileNotFoundError):
        spec("evaluate_mcq", BASE, tmp_path / "none.jsonl")


def test_hosted_models_take_the_place_of_networks() -> None:
    made = spec("evaluate_mcq", [dissonance.Hosted(model="gpt", temperature=0.0)], b"")
    assert not made.variants
    assert made.hosted_models[0].model == "gpt"
    assert made.hosted_models[0].HasField("temperature")


def test_fine_tune_names_adapters_and_questions() -> None:
    made = spec(
        "fine_tune",
        "m",
        b"docs",
        "mine",
        start_from="old",
        lora=dissonance.Lora(rank=4),
        training=dissonance.Training(epoch_count=1),
        evaluation_data=b"questions",
        evaluation_steps=5,
        scoring="cloze",
    )
    assert made.output_adapter == "models/m/adapters/mine"
    assert made.adapter == "models/m/adapters/old"
    assert made.evaluation_data == b"questions"
    assert made.evaluation.step_count == 5
    assert made.evaluation.scoring == training_pb2.MCQ_SCORING_CLOZE


def test_probes_of_a_job_say_nothing_of_what_it_captured() -> None:
    made = spec("train_probes", [], None, ["category_conflict"], activations_job="j")
    assert made.activations_job == "jobs/j"
    assert not made.variants
    assert not made.sites
    assert made.scoring == training_pb2.MCQ_SCORING_UNSPECIFIED


def test_labels_are_words_or_fields() -> None:
    made = spec("train_probes", BASE, b"", ["answered_false", "label:truth"])
    assert made.targets[1].field == "truth"
    with pytest.raises(dissonance.InvalidArgument, match="none of category_conflict"):
        spec("train_probes", BASE, b"", ["conflict"])


def test_directions_of_a_sweep_are_names_numbers_or_several() -> None:
    place = dissonance.Place("resid_post", 2)
    vector = dissonance.DirectionVector(place, [1.0, 0.0])  # type: ignore[arg-type]
    for given, labels in [
        ("truth", [""]),
        (["truth", "lie"], ["", ""]),
        ({"mine": [1.0, 0.0], "own": [vector, vector]}, ["mine", "own"]),
        ([1.0, 0.0], [""]),
    ]:
        made = spec("steering_sweep", CUBIC, b"", given)
        assert [each.label for each in made.directions] == labels
    made = spec("steering_sweep", CUBIC, b"", {"own": [vector, vector]}, null_count=0)
    assert len(made.directions[0].vectors) == 2
    assert made.HasField("null_count")
    assert not made.HasField("refine_count")


def test_fit_directions_takes_a_target_or_none() -> None:
    made = spec("fit_directions", BASE, b"", "label:says", sites="resid_mid", blocks=3)
    assert made.target.field == "says"
    assert list(made.sites) == [common_pb2.SITE_RESID_MID]
    made = spec("fit_directions", [BASE, CUBIC], b"", method="variant_difference")
    assert not made.HasField("target")


def test_stages_leave_to_earlier_ones_what_those_find() -> None:
    made = spec("train_probes", [], None, ["answered_false"])
    assert made.targets
    assert not made.variants
    assert not spec("fine_tune", "m", None, "mine").data
    made = spec("steering_sweep", CUBIC, b"", {"truth": None})
    assert made.directions[0].label == "truth"
    assert not made.directions[0].HasField("vector")
    made = spec("steering_sweep", CUBIC, b"", None)
    assert len(made.directions) == 1


def test_directions_of_a_job_have_their_lengths() -> None:
    lengths = {"norm": 3.0, "residual_norm": 7.0}
    names = ("blocks.10.resid_post", "blocks.2.resid_post")
    summary = {"places": dict.fromkeys(names, lengths)}
    tensors = {name: np.ones(4, dtype=np.float32) for name in names}
    vectors = job_files.read_vectors(summary, tensors)
    assert [str(each.place) for each in vectors] == ["resid_post.2", "resid_post.10"]
    assert vectors[0].residual_norm == 7
    job = jobs_pb2.JobSpec()
    job.fit_directions.sites.append(common_pb2.SITE_RESID_POST)
    files = {"summary.json": json.dumps(summary).encode()}
    assert job_files.main_files("fit_directions", list(files)) == list(files)
    frame = job_files.result_frame(job, files)
    assert list(frame.columns) == ["place", "norm", "residual_norm"]


def test_stages_say_what_they_take_from_each_other() -> None:
    train = run(Specs(None).fine_tune("m", b"", "mine"))  # type: ignore[arg-type]
    second = dissonance.stage(
        "train",
        train,
        inputs={"fine_tune.data_artifact": "documents/docs.jsonl"},
        gates=["documents"],
    )
    made = spec("pipeline", [second], title="all", force=True)
    assert made.stages[0].inputs[0].stage == "documents"
    assert made.stages[0].inputs[0].file == "docs.jsonl"
    assert made.stages[0].gates == [jobs_pb2.GATE_DOCUMENTS]
    assert spec("pipeline", {"a": train}).stages[0].name == "a"


def test_judge_takes_a_job_or_answers() -> None:
    judge = dissonance.Hosted(model="gpt")
    made = spec("judge", judge, job="j", universe={"id": "u"}, mode="doubt_only")
    assert made.job == "jobs/j"
    assert json.loads(made.universe) == {"id": "u"}
    assert not made.HasField("second_judge")


def test_documents_keep_zero_retries() -> None:
    made = spec("generate_documents", b"{}", dissonance.Hosted(model="gpt"), retries=0)
    assert made.HasField("retries")
    assert made.universe == b"{}"


def test_files_of_text_with_other_line_breaks_are_read_whole() -> None:
    job = jobs_pb2.JobSpec()
    job.judge.pass_count = 1
    data = '{"a": "x\u2028y"}\n{"a": "z"}\n'.encode()
    frame = job_files.result_frame(job, {"judgements.jsonl": data})
    assert list(frame["a"]) == ["x\u2028y", "z"]


def test_directions_are_made_of_vectors_at_places() -> None:
    numbers = np.array([3.0, 4.0], np.float32)
    at = ("resid_post", 2)
    for given, place in (
        (probing.DirectionVector(at, numbers), None),
        ([probing.DirectionVector(at, numbers)], None),
        ({"blocks.2.resid_post": numbers}, None),
        (numbers, at),
        ([3.0, 4.0], "blocks.2.resid_post"),
    ):
        (made,) = probing.direction_vectors(given, place)
        assert made.place == at
        np.testing.assert_array_equal(made.vector, numbers)
    with pytest.raises(TypeError, match="at no place; add place="):
        probing.direction_vectors(numbers)
    for wrong in ("truth", ["truth"], [numbers, numbers]):
        with pytest.raises(TypeError, match="vectors are DirectionVectors"):
            probing.direction_vectors(wrong)


def test_tensors_come_in_the_order_of_blocks() -> None:
    from safetensors.numpy import save

    names = ["blocks.2.resid_post", "blocks.10.resid_post", "final_norm"]
    data = save({name: np.zeros(1) for name in names})
    assert list(job_files.read_tensors(data)) == names


def test_a_pipelines_stages_begin_with_what_they_are() -> None:
    job = jobs_pb2.JobSpec(pipeline=jobs_pb2.PipelineSpec())
    stage = {"digest": "d", "job": "jobs/A", "kind": "judge", "name": "n", "state": "S"}
    files = {"stages.json": json.dumps({"stages": [stage]}).encode()}
    frame = job_files.result_frame(job, files)
    assert list(frame) == ["name", "kind", "job", "state", "digest"]


@pytest.mark.parametrize(
    ("kind", "reason", "is_offered"),
    [
        ("pipeline", "ABORTED: the disk is full", True),
        ("pipeline", "FAILED_PRECONDITION: mend the file", False),
        ("judge", "FAILED_PRECONDITION: the key was refused", True),
        ("judge", "INVALID_ARGUMENT: no rows", False),
    ],
)
def test_a_retry_is_offered_only_where_it_may_help(
    kind: str, reason: str, is_offered: bool
) -> None:
    message = jobs_pb2.Job(state="JOB_STATE_FAILED", reason=reason)
    getattr(message.spec, kind).SetInParent()
    job = dissonance.aio.Job(None, message)  # type: ignore[arg-type]
    with pytest.raises(dissonance.JobFailed) as failed:
        job._raise_unless_succeeded()
    assert ("retry() goes on" in str(failed.value)) == is_offered
