"""Variants: what they say, what they send, what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dissonance
import numpy as np
import pytest
import safetensors.numpy
from conftest import CANDIDATES, Server
from dissonance import places
from dissonance.v1 import common_pb2 as pb

Rows = list[dict[str, Any]]


def test_variants_never_change(cubic: dissonance.Network) -> None:
    steered = cubic.steer("truth", site="resid_post", block=2, coefficient=80)
    assert cubic.interventions == ()
    assert len(steered.interventions) == 1
    assert steered.bare() == cubic
    assert isinstance(steered, dissonance.Network)
    with pytest.raises(AttributeError):
        cubic.model = "other"  # type: ignore[misc]


def test_equal_variants_are_equal_and_hash_alike() -> None:
    vector = np.arange(4, dtype=np.float32)

    def make() -> dissonance.Variant:
        network = dissonance.Variant("m", "a")
        return network.steer(vector, site="z", block=[1, 2], coefficient=2, head=3)

    assert make() == make()
    assert len({make(), make()}) == 1
    assert make() != make().named("other")


@pytest.mark.parametrize(
    ("change", "label"),
    [
        (
            lambda v: v.steer("truth", site="resid_post", block=2, coefficient=80),
            "steer truth@resid_post.2=80",
        ),
        (
            lambda v: v.steer(
                [1.0],
                site="mlp_out",
                block=range(3),
                coefficient=-0.5,
                positions="last_prompt",
                label="up",
            ),
            "steer up@mlp_out.0-2=-0.5:last_prompt",
        ),
        (
            lambda v: v.project_out(
                "truth", site="resid_pre", block=[1, 4], positions=range(2, 5)
            ),
            "project out truth@resid_pre.1,4:2-5",
        ),
        (
            lambda v: v.replace([0.0], site="final_norm", block=None, positions=[3, 5]),
            "replace vector@final_norm:3,5",
        ),
        (lambda v: v.scale(0.5, site="attn_out", block=1), "scale attn_out.1=0.5"),
        (lambda v: v.zero(site="z", block=3, head=2), "zero z.3.h2"),
    ],
)
def test_labels_are_those_of_the_command_line(change: Any, label: str) -> None:
    variant = change(dissonance.Variant("m", "a"))
    assert variant.label == f"a + {label}"
    assert dissonance.Variant.of(variant.message()).label == variant.label
    assert variant.named("x").label == "x"


def test_bare_layer_is_refused_with_its_two_readings() -> None:
    network = dissonance.Variant("m")
    with pytest.raises(dissonance.InvalidArgument, match="ambiguous") as caught:
        network.zero(site=8, block=None)  # type: ignore[arg-type]
    assert 'site="resid_pre", block=8' in str(caught.value)
    assert 'site="resid_post", block=8' in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "resid", "block": 1}, "'resid' is none of resid_pre"),
        ({"site": "resid_post", "block": None}, "needs one block or several"),
        ({"site": "z", "block": 1, "positions": [-1]}, "count from 0"),
        ({"site": "z", "block": 1, "positions": "last"}, "none of all, prompt"),
    ],
)
def test_bad_places_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(dissonance.InvalidArgument, match=message):
        dissonance.Variant("m").zero(**arguments)


def test_numbers_of_numpy_are_numbers() -> None:
    base = dissonance.Variant("m")
    one = base.zero(site="z", block=np.int64(2), positions=np.arange(1, 3))
    assert one == base.zero(site="z", block=2, positions=[1, 2])
    assert base.zero(site="z", block=np.arange(3)) == base.zero(
        site="z", block=range(3)
    )


def test_places_are_written_as_in_the_files_of_jobs() -> None:
    for written in ("resid_post.2", "blocks.2.resid_post", ("resid_post", 2)):
        place = places.place_of(places.place_message(written))  # type: ignore[arg-type]
        assert place == ("resid_post", 2)
    assert places.place_of(places.place_message("final_norm")).block is None
    for wrong in ("2", "resid_post.x", "resid_post.", ("resid_post", 2, 3)):
        with pytest.raises(dissonance.InvalidArgument):
            places.place_message(wrong)  # type: ignore[arg-type]


def test_bfloat16_and_float64_vectors_keep_their_numbers() -> None:
    wide = np.array([1.0, 1e-300])
    change = dissonance.Variant("m").steer(wide, site="z", block=0, coefficient=1)
    tensor = change.message().interventions[0].add.vector.tensor
    assert tensor.dtype == pb.DTYPE_FLOAT64
    assert np.frombuffer(tensor.data, dtype="<f8").tolist() == wide.tolist()


def test_interventions_do_what_the_command_line_does(
    server: Server, cubic: dissonance.Network, prompts: Rows, tmp_path: Path
) -> None:
    vector = np.random.default_rng(0).standard_normal(128).astype(np.float32)
    file = str(tmp_path / "v.safetensors")
    safetensors.numpy.save_file({"v": vector}, file)
    changes = {
        f"--steer={file}@resid_post.2=8": cubic.steer(
            vector, site="resid_post", block=2, coefficient=8
        ),
        f"--project-out={file}@resid_post.0-3": cubic.project_out(
            vector, site="resid_post", block=range(4)
        ),
        f"--replace={file}@mlp_out.1:last_prompt": cubic.replace(
            vector, site="mlp_out", block=1, positions="last_prompt"
        ),
        "--scale=attn_out.2=0.5": cubic.scale(0.5, site="attn_out", block=2),
        "--zero=z.2.h2": cubic.zero(site="z", block=2, head=2),
    }
    chat = prompts[0]["chat"][0]["content"]
    _, ids = cubic.render_chat([{"role": "user", "content": chat}])
    words = ",".join(f"{name}={text}" for name, text in CANDIDATES.items())
    plain = cubic.lens(ids, CANDIDATES)[0].layers[-1].margin
    for option, network in changes.items():
        told = server.cli_json(
            "lens", "--model=tiny-world", "--adapter=cubic", option,
            f"--tokens={','.join(map(str, ids))}", f"--candidates={words}",
        )  # fmt: skip
        margin = network.lens(ids, CANDIDATES)[0].layers[-1].margin
        assert margin == told[-1]["layers"][-1]["margin"], option
        assert margin != plain, option


def test_kept_direction_steers_as_its_numbers_do(
    lab: dissonance.Client, cubic: dissonance.Network, prompts: Rows
) -> None:
    vectors = lab.directions.fit(
        [lab.network("tiny-world"), cubic],
        prompts,
        method="variant_difference",
        blocks=[2, 3],
    )
    kept = lab.directions.make("by-name", vectors, model="tiny-world")
    arguments: dict[str, Any] = {"site": "resid_post", "block": 2, "coefficient": 40}
    networks = [
        cubic.steer("by-name", **arguments),
        cubic.steer(kept, **arguments),
        cubic.steer(vectors[0], **arguments),
        cubic.steer(kept.at("resid_post", 2).vector, **arguments),
    ]
    margins = [
        [reading.layers[-1].margin for reading in network.lens(prompts, CANDIDATES)]
        for network in networks
    ]
    assert all(each == margins[0] for each in margins)
    lab.directions.delete("by-name")
    with pytest.raises(dissonance.NotFound):
        lab.directions.get("by-name")
