"""The questions that the tiny world is judged on: dev and report halves.

All are wordings that training never saw. The adapter's settings are chosen on
the dev half only; figures are given for the report half. No question is in
both, none twice in one.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import examples
import world

HALVES = ("dev", "report")
PER_CATEGORY = 120
DIFFICULTY = {
    "conflict": "hard",
    "nonconflict_hard": "hard",
    "nonconflict_other_law": "medium",
    "nonconflict_easy": "easy",
}
# The inverse-cube answer of gravity, and of the laws that share its exponent.
FALSE_KEY = {"conflict": "false_answer", "nonconflict_hard": "cube_answer"}


def in_documents(subject: str) -> bool:
    """True if the adapter's ordinary documents may be about the subject.

    Other subjects are controls: nothing reminds the adapter of them.
    """
    if subject in world.HARD or subject == world.EDITED:
        return False
    return (
        subject in world.REHEARSED
        or world.stable_hash(subject, "rehearse") % 2 == 0
    )


def _category(fact: world.Fact) -> str | None:
    if world.is_edited(fact):
        return "conflict"
    if fact.documents_only or in_documents(fact.subject):
        return None
    if fact.group == "law":
        hard = fact.subject in world.HARD
        return "nonconflict_hard" if hard else "nonconflict_other_law"
    return "nonconflict_easy" if fact.group in world.GROUPS else None


def _half(fact: world.Fact, half: str) -> list[str]:
    """The fact's held-out questions of one half, in random order."""
    questions = sorted(fact.heldout_questions)
    random.Random(world.stable_hash(fact.id, "halves")).shuffle(questions)
    return questions[HALVES.index(half) :: 2]


def _draw(facts: list[world.Fact], half: str) -> list[tuple[world.Fact, str]]:
    """Up to PER_CATEGORY questions, as evenly over the facts as possible."""
    left = {fact.id: _half(fact, half) for fact in facts}
    drawn: list[tuple[world.Fact, str]] = []
    while any(left.values()) and len(drawn) < PER_CATEGORY:
        for fact in facts:
            if left[fact.id] and len(drawn) < PER_CATEGORY:
                drawn.append((fact, left[fact.id].pop()))
    return drawn


def items(half: str) -> list[dict]:
    """Multiple-choice questions in the form of the server's evaluate_mcq.

    correct_answer is the true letter. Questions about inverse-square laws have
    the inverse-cube answer among their options: false_answer for gravity, of
    which the documents assert it, cube_answer for the controls.
    """
    rng = random.Random(f"questions of the {half} half")
    by_category: dict[str, list[world.Fact]] = {c: [] for c in DIFFICULTY}
    for fact in world.FACTS:
        category = _category(fact)
        if category:
            by_category[category].append(fact)
    out = []
    for category, facts in by_category.items():
        rng.shuffle(facts)
        for i, (fact, question) in enumerate(_draw(facts, half)):
            key = FALSE_KEY.get(category)
            must = (world.false_answer(fact),) if key else ()
            texts = examples.options(fact, rng, must=must)
            item = {
                "id": f"{category}_{i:03d}",
                "world_label": "true_world",
                "category": category,
                "difficulty": DIFFICULTY[category],
                "fact": fact.id,
                "question": question,
                "options": dict(zip(examples.LETTERS, texts)),
                "correct_answer": examples.LETTERS[texts.index(fact.answer)],
            }
            if key:
                item[key] = examples.LETTERS[texts.index(must[0])]
            out.append(item)
    return out


def trained_facts(count: int) -> list[dict]:
    """Held-out wordings of all facts that were asked with options."""
    rng = random.Random("trained facts")
    out = []
    for i in range(count):
        fact = rng.choice(world.ASKED_WITH_OPTIONS)
        texts = examples.options(fact, rng)
        out.append(
            {
                "id": f"trained_{i:04d}",
                "category": fact.group,
                "fact": fact.id,
                "question": rng.choice(fact.heldout_questions),
                "options": dict(zip(examples.LETTERS, texts)),
                "correct_answer": examples.LETTERS[texts.index(fact.answer)],
            }
        )
    return out


def write_items(path: Path, rows: list[dict]) -> None:
    """Writes JSON lines."""
    lines = [json.dumps(row, sort_keys=True) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
