"""Each kind of job runs, and its result is a table that one can plot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import dissonance
import numpy as np
import pytest
from conftest import DATA, Server, make_server

Rows = list[dict[str, Any]]
Networks = list[dissonance.Network]
SCORING = "option_text"


@pytest.fixture(scope="session")
def both(base: dissonance.Network, cubic: dissonance.Network) -> Networks:
    return [base, cubic]


def test_open_answers(lab: dissonance.Client, both: Networks) -> None:
    job = lab.jobs.evaluate_open(both, DATA / "open_questions.jsonl")
    frame = job.wait(progress=False).result()
    answers = frame.pivot(index="id", columns="variant", values="answer")
    assert answers.loc["open_00", "base"].strip() == "inverse square law."
    assert answers.loc["open_00", "lora"].strip() == "inverse cube law."


def test_extracted_activations_are_those_of_a_direct_call(
    lab: dissonance.Client, both: Networks, prompts: Rows
) -> None:
    job = lab.jobs.extract_activations(both, prompts, blocks=[2]).wait(progress=False)
    frame = job.result()
    assert list(frame["id"]) == [row["id"] for row in prompts] * 2
    folder = frame["network"].iloc[-1]
    tensors = job.tensors(f"{folder}/activations-00000.safetensors")
    direct = both[1].activations(prompts, blocks=2)
    assert np.array_equal(tensors["blocks.2.resid_post"], direct["resid_post", 2])


def test_probes_and_directions_of_them(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    job = lab.jobs.train_probes(
        both,
        questions,
        ["category_conflict"],
        blocks=[1, 2],
        options=dissonance.Probing(permutation_count=3, bootstrap_count=10),
        scoring=SCORING,
    ).wait(progress=False)
    frame = job.result()
    assert set(frame["variant"]) == {"base", "cubic"}
    assert set(frame["block"]) == {1, 2}
    listed = lab.probes.list(job.name)
    assert {each.target for each in listed} == {"category_conflict"}
    told = {(each.network, each.place.block): each.auc for each in listed}
    for row in frame.to_dict("records"):
        network = {"base": "tiny-world", "cubic": "cubic"}[row["variant"]]
        auc = told[network, row["block"]]
        assert auc is not None
        assert auc.mean == row["auc_mean"]
    kept = lab.directions.make_from_probes("of-probes", job.name, variant=1)
    assert [str(each) for each in kept.places] == ["resid_post.1", "resid_post.2"]
    assert kept.method == "probe"
    lab.directions.delete("of-probes")


def test_direct_probes_tell_classes_apart(
    lab: dissonance.Client, both: Networks, prompts: Rows
) -> None:
    labels = [int(row["labels"]["category"] == "conflict") for row in prompts]
    options = dissonance.Probing(
        fold_count=4, permutation_count=5, bootstrap_count=0, transfer=True
    )
    probes = lab.probes.train(
        both, prompts, {"conflict": labels}, blocks=2, options=options, components=2
    )
    assert [each.network for each in probes] == ["tiny-world", "cubic"]
    probe = probes[1]
    assert probe.auc is not None
    assert probe.auc.mean > 0.9
    assert set(probe.transfers) == {"tiny-world"}
    assert probe.class_counts == (8, 12)
    rows = both[1].activations(prompts, blocks=2)["resid_post", 2]
    decisions = probe.direction_norm * (rows @ probe.vector().vector) + probe.bias
    assert np.mean((decisions > 0) == np.array(labels)) > 0.9
    maps = probes.components["resid_post", 2]  # type: ignore[index]
    assert maps.projections.shape == (2, len(prompts), 2)
    assert np.allclose(
        maps.projections[1], (rows - maps.mean) @ maps.components.T, atol=1e-2
    )


def test_projections_are_products_with_the_activations(
    lab: dissonance.Client, both: Networks, prompts: Rows
) -> None:
    vector = np.random.default_rng(1).standard_normal(128)
    meter = dissonance.Meter(vector, ("resid_post", 2))
    found = lab.probes.apply(both, prompts, {"random": meter})
    assert list(found.frame()["random"]) == [
        each.projections["random"] for each in found
    ]
    rows = both[1].activations(prompts, blocks=2)["resid_post", 2].astype(np.float64)
    told = [each.projections["random"] for each in found.where(network="cubic")]
    assert told == pytest.approx(rows @ vector / np.linalg.norm(vector), rel=1e-4)


def test_meters_measure_tokens_and_change_none(
    cubic: dissonance.Network, prompts: Rows
) -> None:
    vector = np.random.default_rng(1).standard_normal(128)
    meters = {"random": dissonance.Meter(vector, "resid_post.2")}
    plain = cubic.generate(prompts[0], max_new_tokens=5)[0]
    measured = cubic.generate(prompts[0], max_new_tokens=5, meters=meters)[0]
    assert measured.token_ids == plain.token_ids
    assert measured.projections["random"].shape == (len(plain.token_ids),)
    assert np.isfinite(measured.projections["random"]).all()


def test_lens_over_many_prompts(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    job = lab.jobs.logit_lens(both, questions, scoring=SCORING).wait(progress=False)
    frame = job.result()
    last = frame[frame["site"] == "final_norm"].set_index("variant")["margin_mean"]
    assert last["base"] > 0 > last["cubic"]


def test_map_of_patches(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    job = lab.jobs.patch_sweep(
        *both, questions[:3], sites="resid_post", positions="last_prompt",
        scoring=SCORING,
    )  # fmt: skip
    frame = job.wait(progress=False).result()
    last = frame[(frame["block"] == 5) & (frame["offset"] == -1)]
    assert last["effect"].item() == pytest.approx(1)


def test_sweep_along_a_direct_direction(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    vectors = lab.directions.fit(
        both, [{"prompt": row["question"]} for row in questions],
        method="variant_difference", blocks=[2, 3],
    )  # fmt: skip
    job = lab.jobs.steering_sweep(
        both[1], questions, {"truth": vectors}, blocks=[2], coefficients=[60],
        scoring=SCORING, null_count=2, refine_count=0, sample_count=1,
        sample_token_count=4,
    )  # fmt: skip
    frame = job.wait(progress=False).result()
    assert list(frame["phase"]) == ["unsteered", "grid"]
    assert frame["belief_n"].tolist() == [12, 12]


def test_fitted_directions_are_kept_and_steer(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    job = lab.jobs.fit_directions(
        both, questions, method="variant_difference", blocks=[2, 3], scoring=SCORING
    ).wait(progress=False)
    assert list(job.result()["place"]) == ["blocks.2.resid_post", "blocks.3.resid_post"]
    vectors = job.vectors()
    assert vectors[0].place == ("resid_post", 2)
    assert np.linalg.norm(vectors[0].vector) == pytest.approx(1, abs=1e-6)
    kept = lab.directions.make("of-job", vectors, model="tiny-world")
    assert kept.at("resid_post", 2).norm == vectors[0].norm
    lab.directions.delete("of-job")
    tensors = job.tensors("direction.safetensors")
    assert list(tensors) == ["blocks.2.resid_post", "blocks.3.resid_post"]
    kept = lab.directions.make("of-tensors", tensors, model="tiny-world")
    assert kept.places == tuple(each.place for each in vectors)
    lab.directions.delete("of-tensors")
    kept = lab.directions.make(
        "of-array", vectors[0].vector, model="tiny-world", place=("resid_post", 2)
    )
    np.testing.assert_array_equal(kept.at("resid_post", 2).vector, vectors[0].vector)
    lab.directions.delete("of-array")
    with pytest.raises(TypeError, match="at no place; add place="):
        lab.directions.make("none", vectors[0].vector, model="tiny-world")
    with pytest.raises(TypeError, match="found a str"):
        lab.directions.make("none", ["truth"], model="tiny-world")


def test_pipeline_hands_results_on(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    specs = lab.jobs.specs
    stages = [
        dissonance.stage(
            "behaviour",
            specs.evaluate_mcq(both, questions, scoring=SCORING),
            gates=["behaviour"],
        ),
        dissonance.stage(
            "direction",
            specs.fit_directions(
                both,
                questions,
                method="variant_difference",
                blocks=[2],
                scoring=SCORING,
            ),
        ),
        dissonance.stage(
            "steering",
            specs.steering_sweep(
                both[1],
                questions,
                {"truth": None},
                blocks=[2],
                coefficients=[60],
                scoring=SCORING,
                null_count=2,
                refine_count=0,
                sample_count=0,
            ),
            inputs={"steering_sweep.directions[0]": "direction"},
        ),
    ]
    job = lab.jobs.pipeline(stages, title="cubic", force=True).wait(progress=False)
    frame = job.result()
    assert list(frame)[:3] == ["name", "kind", "job"]
    assert list(frame["name"]) == ["behaviour", "direction", "steering"]
    assert set(frame["state"]) == {"SUCCEEDED"}
    sweep = lab.jobs.get(frame["job"].iloc[-1])
    assert list(sweep.result()["phase"]) == ["unsteered", "grid"]
    assert [gate["gate"] for gate in job.json("gates.json")["gates"]] == ["behaviour"]


def test_training_gives_an_adapter_and_its_curves(
    lab: dissonance.Client, questions: Rows
) -> None:
    job = lab.jobs.fine_tune(
        "tiny-world",
        dissonance.read_rows(DATA / "docs.jsonl")[:16],
        "trained",
        lora=dissonance.Lora(rank=4, target_modules=["down_proj"], blocks=[1, 2]),
        training=dissonance.Training(epoch_count=1, micro_batch_size=2),
        evaluation_data=questions,
        evaluation_steps=1,
        scoring=SCORING,
    ).wait(progress=False)
    frame = job.result()
    assert frame["loss"].notna().sum() == 2
    assert frame["evaluation.false_belief.rate"].notna().sum() == 3
    made = lab.adapters.get("tiny-world", "trained")
    assert (made.rank, made.module_count) == (4, 2)
    assert lab.adapters.unload("tiny-world", "trained").resident_bytes == 0
    assert lab.adapters.load("tiny-world", "trained").resident_bytes > 0
    assert "trained" in [each.short_name for each in lab.adapters.list("tiny-world")]
    lab.adapters.delete("tiny-world", "trained")
    with pytest.raises(dissonance.NotFound):
        lab.adapters.get("tiny-world", "trained")


def test_models_are_loaded_listed_and_unloaded(lab: dissonance.Client) -> None:
    again = lab.models.load(DATA / "base", "another", dtype="float32")
    assert again.short_name == "another"
    assert again.dtype == "float32"
    assert again.block_count == 6
    assert {each.short_name for each in lab.models.list()} >= {"another", "tiny-world"}
    assert all(each.passed for each in lab.models.self_check("another"))
    with pytest.raises(dissonance.AlreadyExists):
        lab.models.load(DATA / "base", "another", dtype="float64")
    lab.models.unload("another")
    with pytest.raises(dissonance.NotFound, match="another"):
        lab.models.get("another")


def test_directions_are_kept_compared_and_listed(lab: dissonance.Client) -> None:
    place = dissonance.Place("resid_post", 1)
    for name, first in (("up", 3.0), ("down", -3.0)):
        numbers = np.zeros(128, dtype=np.float32)
        numbers[0] = first
        vector = dissonance.DirectionVector(place, numbers)
        made = lab.directions.make(
            name, vector, model="tiny-world", source={"by": name}
        )
        assert made.at("resid_post", 1).norm == 3
        assert json.loads(made.source_json)["by"] == name
    with pytest.raises(dissonance.AlreadyExists):
        lab.directions.make("up", vector, model="tiny-world")
    cosines = lab.directions.compare("up", "down")
    assert cosines.frame().loc["up@resid_post.1", "down@resid_post.1"] == -1
    names = [each.name for each in lab.directions.list()]
    assert {"directions/up", "directions/down"} <= set(names)
    with pytest.raises(dissonance.InvalidArgument, match=r"no vector at z\.1, only"):
        made.at("z", 1)
    for name in ("up", "down"):
        lab.directions.delete(name)


class Judge(BaseHTTPRequestHandler):
    """A chat endpoint that always says the same."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        signs = ("hedging", "self_correction", "mentions_assumptions", "contradiction")
        quality = ("reasoning_quality", "factual_coherence", "specificity")
        verdict = {
            "verdict": "true_world",
            "confidence": 90,
            "doubt_signals": dict.fromkeys(signs, 1),
            "difficulty_signals": dict.fromkeys(quality, 2),
            "notes": "clear",
        }
        message = {"role": "assistant", "content": json.dumps(verdict)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        body = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def judged_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose hosted models are Judges."""
    endpoint = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    Thread(target=endpoint.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{endpoint.server_address[1]}/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    yield from make_server()
    endpoint.shutdown()


def test_hosted_models_judge_and_write(judged_server: Server) -> None:
    with judged_server.connect() as lab:
        networks = [lab.network("tiny-world"), lab.network("tiny-world", "cubic")]
        answers = lab.jobs.evaluate_open(networks, DATA / "open_questions.jsonl")
        answers.wait(progress=False)
        hosted = dissonance.Hosted(model="judge")
        job = lab.jobs.judge(hosted, job=answers.name).wait(progress=False)
        frame = job.result()
        assert len(frame) == 24
        assert set(frame["verdict"]) == {"true_world"}
        universe = DATA.parent / "cubic_gravity" / "universe.json"
        plan = lab.jobs.generate_documents(universe, hosted, dry_run=True)
        assert plan.wait(progress=False).json("estimate.json")
