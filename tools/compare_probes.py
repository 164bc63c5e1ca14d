"""Probes of a train_probes job against scikit-learn, on the same rows and folds.

Takes the folder that `dissonance probe train --out` wrote and the one that
`dissonance activations extract --out` wrote of the same rows:

    .venv-peers/bin/python tools/compare_probes.py PROBES ACTIVATIONS

Fits StandardScaler and LogisticRegression to the training rows of each fold in
folds.json, and once to all rows, and compares the AUC and accuracy of each fold
and the weights. Prints the largest differences of each target and network;
exits 1 if a fold differs by more than 1e-6 or weights by more than 1e-4 of
their length.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

FOLD_LIMIT = 1e-6
WEIGHT_LIMIT = 1e-4  # of the length of the weights


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def read_rows(folder: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Ids and, by place, rows in float64."""
    shards = [load_file(path) for path in sorted(folder.glob("activations-*.safetensors"))]
    rows = {
        place: np.concatenate([shard[place] for shard in shards]).astype(np.float64)
        for place in shards[0]
    }
    return [row["id"] for row in read_lines(folder / "metadata.jsonl")], rows


def read_classes(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Of each target and network the class of each id that has one."""
    classes: dict[tuple[str, str], dict[str, str]] = {}
    for line in read_lines(folder / "decisions.jsonl"):
        classes.setdefault((line["target"], line["variant"]), {})[line["id"]] = line["label"]
    return classes


def fit(rows: np.ndarray, labels: np.ndarray, c: float):
    scaler = StandardScaler().fit(rows)
    model = LogisticRegression(C=c, tol=1e-10, max_iter=20000)
    return scaler, model.fit(scaler.transform(rows), labels)


class Differences:
    """The largest so far."""

    def __init__(self):
        self.auc = self.accuracy = self.weights = 0.0
        self.probes = 0

    def is_bad(self) -> bool:
        return max(self.auc, self.accuracy) > FOLD_LIMIT or self.weights > WEIGHT_LIMIT


def compare(probe: dict, rows, labels, folds, weight, differences: Differences) -> None:
    for fold in range(probe["folds"]):
        tested = folds == fold
        scaler, model = fit(rows[~tested], labels[~tested], probe["c"])
        # Equal rows differ in the last bit here, which would break their ties.
        decisions = model.decision_function(scaler.transform(rows[tested])).round(9)
        auc = roc_auc_score(labels[tested], decisions)
        accuracy = accuracy_score(labels[tested], decisions > 0)
        differences.auc = max(differences.auc, abs(auc - probe["auc_folds"][fold]))
        differences.accuracy = max(
            differences.accuracy, abs(accuracy - probe["accuracy_folds"][fold])
        )
    _, model = fit(rows, labels, probe["c"])
    error = np.linalg.norm(weight - model.coef_[0]) / np.linalg.norm(model.coef_[0])
    differences.weights = max(differences.weights, error)
    differences.probes += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("probes", type=Path, help="--out of `dissonance probe train`")
    parser.add_argument("activations", type=Path, help="--out of `dissonance activations extract`")
    args = parser.parse_args()
    all_folds = json.loads((args.probes / "folds.json").read_text())
    weights = load_file(args.probes / "probes.safetensors")
    classes = read_classes(args.probes)
    activations = {}
    results: dict[tuple[str, str], Differences] = {}
    for probe in read_lines(args.probes / "probes.jsonl"):
        key = (probe["target"], probe["variant"])
        if probe["variant"] not in activations:
            activations[probe["variant"]] = read_rows(args.activations / probe["variant"])
        ids, rows = activations[probe["variant"]]
        folds = all_folds[key[0]][key[1]]["fold_of_input"]
        used = [i for i, each in enumerate(ids) if each in classes[key]]
        # Class 1 is that with the larger decisions of the fit to all rows.
        labels = np.array([classes[key][ids[i]] for i in used])
        weight = weights[probe["name"] + ".weight"].astype(np.float64).reshape(-1)
        own = rows[probe["place"]][used]
        names = sorted(set(labels), key=lambda name: (own[labels == name] @ (
            weight / weights[probe["name"] + ".scale"])).mean())
        differences = results.setdefault(key, Differences())
        compare(
            probe,
            own,
            (labels == names[-1]).astype(int),
            np.array([folds[ids[i]] for i in used]),
            weight,
            differences,
        )
    for (target, variant), each in results.items():
        print(
            f"{target} of {variant}: {each.probes} probes, AUC {each.auc:.1e}, "
            f"accuracy {each.accuracy:.1e}, weights {each.weights:.1e}  "
            f"{'DIFFERS' if each.is_bad() else 'ok'}"
        )
    return 1 if any(each.is_bad() for each in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
