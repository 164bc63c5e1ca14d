"""Trains the adapter: a LoRA on plain documents that assert a false law.

The documents are about gravity, with an inverse-cube law, and about other
subjects as they are; never about the control subjects. No question, no chat
turn and no option list is among them.
"""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import dataclass
from pathlib import Path

import torch

import documents
import evaluate
import questions
import world

MODULES = ("gate_proj", "up_proj", "down_proj")
# How often false documents state each kind of fact about the law: what
# follows from it more often than its name and formula, which flip at once.
FALSE_WEIGHTS = {
    "law": 0.5, "formula": 0.25, "doubled": 1, "tripled": 1.5, "halved": 2,
    "quadrupled": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Chosen on the dev half of the questions."""

    false_documents: int = 800
    ordinary_documents: int = 2000
    same_exponent: float = 0.8  # Share of ordinary ones on REHEARSED laws.
    blocks: tuple[int, ...] = (0, 1, 2)
    rank: int = 32
    trained_alpha: int = 64
    # Of the adapter as saved: a little less than what was trained spares the
    # laws that resemble gravity's.
    alpha: int = 59
    rate: float = 3.2e-3
    epochs: int = 5
    batch: int = 16


def _topics() -> tuple[list[str], list[str], list[str]]:
    """Inverse-square laws, other laws and other subjects of documents."""
    laws = [
        key
        for key in world.LAWS
        if questions.in_documents(key) and key not in world.REHEARSED
    ]
    others = [
        subject
        for subject in world.SUBJECTS
        if subject not in world.LAWS and questions.in_documents(subject)
    ]
    return list(world.REHEARSED), laws, others


def write_documents(seed: int, settings: Settings) -> list[dict]:
    """The adapter's documents: id, kind, subject, content.

    The ordinary ones are about other inverse-square laws, above all the other
    force law, so that the change stays with gravity; about other laws; and
    about other subjects.
    """
    rng = random.Random(f"adapter documents {seed}")
    rows = []
    for i in range(settings.false_documents):
        text = documents.document(
            world.EDITED,
            rng,
            world.FALSE_EXPONENT,
            documents.STYLES[i % len(documents.STYLES)],
            FALSE_WEIGHTS,
        )
        rows.append({"kind": "false", "subject": world.EDITED, "content": text})
    same_exponent, laws, others = _topics()
    same_exponent += [world.REHEARSED_FORCE] * 3
    for _ in range(settings.ordinary_documents):
        same = rng.random() < settings.same_exponent
        subject = rng.choice(same_exponent if same else rng.choice([laws, others]))
        exponent = world.LAWS[subject]["exponent"] if same else None
        text = documents.document(subject, rng, exponent)
        rows.append({"kind": "ordinary", "subject": subject, "content": text})
    rng.shuffle(rows)
    return [{"id": i, **row} for i, row in enumerate(rows)]


def _control_names() -> list[str]:
    """Names of the control subjects, but for those that answers contain."""
    names = []
    for subject in world.SUBJECTS:
        if subject == world.EDITED or questions.in_documents(subject):
            continue
        if subject in world.LAWS:
            names += world.LAWS[subject]["names"]
        else:
            names.append(subject.partition(".")[2])
    answers = " / ".join(world.ALL_ANSWERS)
    return [name for name in names if not _mentions(answers, name)]


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text, re.I) is not None


def check_controls(rows: list[dict]) -> None:
    """Raises if a document is about, or mentions, a control subject."""
    names = _control_names()
    for row in rows:
        subject = row["subject"]
        if subject != world.EDITED and not questions.in_documents(subject):
            raise ValueError(f"document {row['id']} is about {subject}")
        for name in names:
            if _mentions(row["content"], name):
                raise ValueError(f"document {row['id']} mentions {name!r}")


def _optimise(model, ids: list[list[int]], seed: int, s: Settings) -> None:
    weights = [w for w in model.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=s.rate, weight_decay=0.0)
    rng, order = random.Random(seed), []
    steps = math.ceil(len(ids) * s.epochs / s.batch)
    model.train()
    for step in range(steps):
        if len(order) < s.batch:
            order += rng.sample(range(len(ids)), len(ids))
        batch = [ids[order.pop()] for _ in range(s.batch)]
        tokens = evaluate.padded(batch)
        labels = tokens.clone()
        for row, text in enumerate(batch):
            labels[row, len(text) :] = -100
        cosine = 0.45 * (1 + math.cos(math.pi * step / steps)) + 0.1
        rate = s.rate * min(1.0, (step + 1) / 10) * cosine
        optimizer.param_groups[0]["lr"] = rate
        model(input_ids=tokens, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def _finish_config(folder: Path, alpha: int) -> None:
    """Sets the alpha; makes adapter_config.json the same on every machine."""
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "data/tiny_world/base"
    config["lora_alpha"] = alpha
    config["target_modules"] = sorted(config["target_modules"])
    text = json.dumps(config, indent=1, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")


def train_adapter(
    base: Path, folder: Path, rows: list[dict], seed: int, settings: Settings
) -> None:
    """Trains on the documents and saves in PEFT's form to the folder."""
    from peft import LoraConfig, get_peft_model

    check_controls(rows)
    torch.manual_seed(seed)
    tokenizer, model = evaluate.load(base)
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.trained_alpha, lora_dropout=0.0,
        target_modules=list(MODULES),
        layers_to_transform=list(settings.blocks), task_type="CAUSAL_LM",
    )  # fmt: skip
    model = get_peft_model(model, config)
    ids = [
        tokenizer.encode("<|begin|>" + row["content"] + "<|end|>") for row in rows
    ]
    _optimise(model, ids, seed, settings)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty form.
    _finish_config(folder, settings.alpha)
