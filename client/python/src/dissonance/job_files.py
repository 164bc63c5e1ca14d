"""The files of ended jobs, as tables. No connection is needed here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .frames import frame_of, frame_of_file
from .places import place_message, place_of
from .probing import DirectionVector
from .v1 import jobs_pb2
from .variant import Variant

if TYPE_CHECKING:
    import pandas as pd

# The file that a kind's main figures are in.
MAIN_FILES = {
    "evaluate_mcq": "summary.json",
    "fine_tune": "training.jsonl",
    "train_probes": "auc.csv",
    "logit_lens": "trajectories.csv",
    "patch_sweep": "map.csv",
    "steering_sweep": "steering.csv",
    "generate_documents": "docs.jsonl",
    "judge": "judgements.jsonl",
    "pipeline": "stages.json",
}


def main_files(kind: str, names: Sequence[str]) -> list[str]:
    """Those of a job's files that result_frame() reads."""
    if kind == "evaluate_open":
        return [each for each in names if each.startswith("answers_")]
    if kind == "extract_activations":
        return [each for each in names if each.endswith("metadata.jsonl")]
    main = MAIN_FILES.get(kind, "summary.json")
    return [main] if main in names else []


def result_frame(spec: jobs_pb2.JobSpec, files: Mapping[str, bytes]) -> pd.DataFrame:
    """The main figures of a job from the files that main_files() named."""
    kind = spec.WhichOneof("kind") or ""
    if kind == "evaluate_mcq":
        return _mcq_frame(spec, json.loads(files[MAIN_FILES[kind]]))
    if kind == "pipeline":
        frame = frame_of(json.loads(files[MAIN_FILES[kind]])["stages"])
        first = [each for each in ("name", "kind", "job", "state") if each in frame]
        return frame[first + [each for each in frame if each not in first]]
    if kind == "fit_directions":
        places = json.loads(files["summary.json"])["places"]
        return frame_of({"place": place} | places[place] for place in sorted(places))
    import pandas

    frames = []
    for name, data in files.items():
        frame = frame_of_file(name, data)
        if kind == "extract_activations":
            frame.insert(0, "network", name.rpartition("/")[0])
        frames.append(frame)
    return pandas.concat(frames, ignore_index=True)


def read_vectors(summary: Any, tensors: Mapping[str, Any]) -> list[DirectionVector]:
    """The directions of a fit_directions job, by site and block."""
    places = {place_of(place_message(name)): name for name in summary["places"]}
    return [
        DirectionVector(place, tensors[name], **summary["places"][name])
        for place, name in sorted(places.items())
    ]


def read_tensors(data: bytes) -> dict[str, Any]:
    """The arrays of a .safetensors file by name."""
    try:
        from safetensors.numpy import load
    except ImportError as error:
        raise ImportError(
            "tensor files need safetensors: pip install safetensors, or this package "
            "as dissonance[tensors]"
        ) from error
    found = load(data)
    return {name: found[name] for name in sorted(found, key=_by_number)}


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts "blocks.2" before "blocks.10"."""
    parts = name.split(".")
    return [(int(each), "") if each.isdigit() else (-1, each) for each in parts]


def _mcq_frame(spec: jobs_pb2.JobSpec, summary: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each network and group, and one for its false-belief rate."""
    rows = []
    labels = [Variant.of(each).label for each in spec.evaluate_mcq.variants]
    for index, variant in enumerate(summary["variants"]):
        label = labels[index] if index < len(labels) else variant["model"]
        groups = {**variant["groups"], "all": variant["overall"]}
        for group, figures in groups.items():
            low, high = figures["accuracy_interval_95"]
            rows.append(
                {
                    "network": label,
                    "group": group,
                    "measure": "accuracy",
                    "rate": figures["accuracy"],
                    "low": low,
                    "high": high,
                    "n": figures["n"],
                    "mean_entropy": figures["mean_entropy"],
                    "mean_p_correct": figures["mean_p_correct"],
                    "mean_mi": figures["mean_MI"],
                }
            )
        belief = variant["false_belief"]
        low, high = belief["interval_95"]
        rows.append(
            {
                "network": label,
                "group": "conflict",
                "measure": "false_belief",
                "rate": belief["rate"],
                "low": low,
                "high": high,
                "n": belief["counted_n"],
            }
        )
    return frame_of(rows)
