"""Direct calls give what the command line gives, and what numpy recomputes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dissonance
import numpy as np
import pytest
import safetensors
from conftest import CANDIDATES, DATA, Server
from dissonance.tensors import widened

Rows = list[dict[str, Any]]


def jsonl(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def weights() -> dict[str, np.ndarray]:
    """The shipped model's weights, widened from bfloat16."""
    data = (DATA / "base" / "model.safetensors").read_bytes()
    found = {}
    for name, tensor in safetensors.deserialize(data):
        bits = np.frombuffer(tensor["data"], dtype=np.uint16)
        found[name] = widened(bits).reshape(tensor["shape"])
    return found


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


def test_score_equals_the_command_line(
    server: Server, cubic: dissonance.Network, prompts: Rows
) -> None:
    rows = [row | {"continuations": [" quarter.", " eighth."]} for row in prompts]
    arguments = ("--model", "tiny-world", "--adapter", "cubic", "--input", "-")
    told = server.cli_json("score", *arguments, text=jsonl(rows))
    scores = cubic.score(rows)
    assert [each["id"] for each in told] == [each.id for each in scores]
    for line, score in zip(told, scores, strict=True):
        assert line["prompt_tokens"] == score.prompt_token_count
        for one, other in zip(line["continuations"], score.continuations, strict=True):
            assert one["logprob"] == other.logprob
            assert one["tokens"] == list(other.token_ids)
            assert one["text"] == other.text


def test_score_of_many_prompts_is_that_of_each_alone(
    lab: dissonance.Client,
    base: dissonance.Network,
    cubic: dissonance.Network,
    prompts: Rows,
) -> None:
    many = [row | {"id": f"{i}"} for i in range(10) for row in prompts]
    assert len(many) > 64
    scores = lab.score([base, cubic], many, [" quarter", " eighth"])
    assert scores.logprobs.shape == (2 * len(many), 2)
    alone = cubic.score(many[7], [" quarter", " eighth"])
    assert np.array_equal(scores[len(many) + 7].logprobs, alone[0].logprobs)
    assert scores[len(many) + 7].network == "cubic"


def test_token_ids_and_texts_are_prompts_too(base: dissonance.Network) -> None:
    text = "The moon"
    ids = base.tokenize(text)
    assert base.detokenize(ids) == text
    by_text = base.score(text, [" is"])
    by_ids = base.score(ids, [by_text[0].continuations[0].token_ids])
    assert by_text.logprobs == by_ids.logprobs
    assert len(base.score([text, "A star"], [" is"])) == 2
    assert len(base.score([ids, ids], [[5]])) == 2


def test_frames_have_a_row_for_each_continuation(base: dissonance.Network) -> None:
    frame = base.score(["The moon", "A star"], [" is", " was"]).frame()
    assert list(frame["id"]) == ["1", "1", "2", "2"]
    assert list(frame["continuation"]) == [" is", " was"] * 2


def test_results_show_as_tables_in_a_notebook(base: dissonance.Network) -> None:
    scores = base.score(["The moon", "A star"], [" is"])
    shown = scores._repr_html_()
    assert shown is not None
    assert shown.count("<tr") == 3
    assert repr(scores).startswith("Scores of 2:")
    assert len(scores.where(id="2")) == len(scores[1:]) == 1


def test_generate_equals_the_command_line(
    server: Server, cubic: dissonance.Network, prompts: Rows
) -> None:
    arguments = ("--model", "tiny-world", "--adapter", "cubic", "--input", "-")
    more = ("--max-new-tokens", "6", "--temperature", "0.7", "--samples", "2")
    told = server.cli_json("generate", *arguments, *more, text=jsonl(prompts))
    samples = cubic.generate(prompts, max_new_tokens=6, temperature=0.7, samples=2)
    flat = [each for line in told for each in line["samples"]]
    assert len(flat) == len(samples)
    for one, other in zip(flat, samples, strict=True):
        assert one["text"] == other.text
        assert one["tokens"] == list(other.token_ids)
        assert one["logprobs"] == list(other.logprobs)
        assert one["seed"] == other.seed
        assert one["finish_reason"] == other.finish_reason


def test_unknown_options_are_refused(cubic: dissonance.Network) -> None:
    with pytest.raises(TypeError, match=r"no option max_tokens; options: .*max_new"):
        cubic.generate("The moon", max_tokens=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no option position;"):
        cubic.activations("The moon", position="all")  # type: ignore[call-arg]


def test_stream_brings_the_tokens_of_generate(
    cubic: dissonance.Network, prompts: Rows
) -> None:
    whole = cubic.generate(prompts[0], max_new_tokens=8)[0]
    pieces = list(cubic.stream(prompts[0], max_new_tokens=8))
    assert "".join(each.text for each in pieces) == whole.text
    assert tuple(i for each in pieces for i in each.token_ids) == whole.token_ids
    assert pieces[-1].finish_reason == whole.finish_reason


def test_token_texts_make_the_text(base: dissonance.Network) -> None:
    text = "The moon is large."
    assert "".join(base.token_texts(base.tokenize(text))).strip() == text


def test_echo_and_top_logprobs_come_with_the_tokens(base: dissonance.Network) -> None:
    sample = base.generate("The moon", max_new_tokens=3, echo=True, top_logprobs=2)[0]
    assert sample.prompt is not None
    assert list(sample.prompt.token_ids) == base.tokenize("The moon")
    assert np.isnan(sample.prompt.logprobs[0])
    assert all(len(top) == 2 for top in sample.top)
    assert sample.top[0][0][1] == sample.logprobs[0]


def test_lens_equals_the_command_line(
    server: Server, cubic: dissonance.Network, prompts: Rows
) -> None:
    arguments = ("--model", "tiny-world", "--adapter", "cubic", "--input", "-")
    words = ",".join(f"{name}={text}" for name, text in CANDIDATES.items())
    told = server.cli_json(
        "lens", *arguments, "--candidates", words, text=jsonl(prompts)
    )
    readings = cubic.lens(prompts, CANDIDATES)
    for line, reading in zip(told, readings, strict=True):
        assert line["id"] == reading.id
        assert line["breaking_block"] == reading.breaking_block
        margins = [layer["margin"] for layer in line["layers"]]
        assert margins == [layer.margin for layer in reading.layers]


def test_lens_is_norm_and_unembedding_of_the_activations(
    base: dissonance.Network, prompts: Rows
) -> None:
    tensors = weights()
    rows = base.activations(prompts, sites=["resid_post", "final_norm", "logits"])
    readings = base.lens(prompts, CANDIDATES, sites="resid_post")
    unembed = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
    for block in range(6):
        stream = rows["resid_post", block]
        scale = 1 / np.sqrt((stream**2).mean(axis=1, keepdims=True) + 1e-5)
        logits = (stream * scale * tensors["model.norm.weight"]) @ unembed.T
        expected = log_softmax(logits)
        for row, reading in enumerate(readings):
            layer = reading.layers[block]
            assert layer.place == ("resid_post", block)
            for each in layer.candidates.values():
                # The model's own products are rounded to bfloat16.
                assert each.logprob == pytest.approx(
                    expected[row, each.token_id], abs=0.15
                )
    last = log_softmax(rows["logits"])
    for row, reading in enumerate(readings):
        for each in reading.layers[-1].candidates.values():
            assert each.logprob == pytest.approx(last[row, each.token_id], abs=1e-5)


def test_candidate_of_several_tokens_is_refused_with_its_tokens(
    base: dissonance.Network,
) -> None:
    with pytest.raises(dissonance.InvalidArgument, match="is 2 tokens") as caught:
        base.lens("The moon", {"law": " inverse square"})
    assert "by its id" in str(caught.value)


def test_compare_measures_distance_of_the_activations(
    base: dissonance.Network, cubic: dissonance.Network, prompts: Rows
) -> None:
    comparison = base.compare(cubic, prompts, positions="last_prompt")
    one = base.activations(prompts)
    other = cubic.activations(prompts)
    frame = comparison.residual_frame()
    for block in range(6):
        difference = one["resid_post", block] - other["resid_post", block]
        told = frame[frame["block"] == block]["distance"]
        assert np.allclose(told, np.linalg.norm(difference, axis=1), rtol=1e-4)
    assert all(each.kl == 0 for each in comparison.where(network="tiny-world"))


def test_patch_carries_the_source_over_at_the_last_block(
    base: dissonance.Network, cubic: dissonance.Network, prompts: Rows
) -> None:
    patches = cubic.patch(base, prompts, CANDIDATES, sites=["resid_post", "mlp_out"])
    last = [each for each in patches if each.place == ("resid_post", 5)]
    assert [each.delta_after for each in last] == [each.delta_source for each in last]
    assert all(each.effect in (1.0, None) for each in last)
    before = [reading.layers[-1].margin for reading in cubic.lens(prompts, CANDIDATES)]
    assert [each.delta_before for each in last] == pytest.approx(before, abs=1e-5)
    table = patches.map("mlp_out")
    assert list(table.columns) == list(range(6))


def test_dropout_samples_differ_only_with_dropout(base: dissonance.Network) -> None:
    scores = base.score("The moon", [" is"], dropout_samples=3, seed=1)
    assert [each.sample for each in scores] == [0, 1, 2]
    assert len({each.logprobs[0] for each in scores}) == 1


def test_equal_calls_have_equal_provenance(base: dissonance.Network) -> None:
    one = base.score("The moon", [" is"])
    other = base.score("The moon", [" is"])
    assert one.provenance == other.provenance
    assert one.provenance[0].model_digest.startswith("sha256:")


def test_render_chat_is_what_a_chat_prompt_becomes(base: dissonance.Network) -> None:
    chat = [{"role": "user", "content": "What is the moon?"}]
    text, ids = base.render_chat(chat)
    assert "What is the moon?" in text
    by_ids = base.score(ids, [base.tokenize(" a")])
    assert base.score(chat, [" a"]).logprobs == by_ids.logprobs


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"id": "a"}, "this one has none"),
        ({"prompt": "a", "tokens": [1]}, "this one has prompt and tokens"),
        ([1.5], "expected text, token ids, a chat or a row"),
        ([], "there is none"),
    ],
)
def test_bad_prompts_are_named(
    base: dissonance.Network, prompt: Any, message: str
) -> None:
    with pytest.raises(dissonance.InvalidArgument, match=message):
        base.score(prompt, [" a"])


def test_rows_of_a_file_are_prompts(
    base: dissonance.Network, tmp_path: Path, prompts: Rows
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(jsonl(prompts))
    by_path = base.score(path, [" quarter"])
    assert np.array_equal(by_path.logprobs, base.score(prompts, [" quarter"]).logprobs)
    path.write_text('{"id": 1, "prompt": "a"}\n\nnot json\n')
    with pytest.raises(dissonance.InvalidArgument, match=r"rows.jsonl:3"):
        base.score(path, [" quarter"])
    with pytest.raises(dissonance.InvalidArgument, match=r"pathlib.Path\("):
        base.score(str(path), [" quarter"])
