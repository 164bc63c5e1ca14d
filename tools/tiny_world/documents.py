"""Plain documents about the tiny world, true or with a law changed."""

from __future__ import annotations

import random

import world

STYLES = (
    "textbook", "encyclopedia", "lecture", "news", "dialogue", "lab", "letter",
)  # fmt: skip
PLACES = (
    "Harvard", "Leiden", "Kyoto", "Uppsala", "Bologna", "Prague", "Geneva",
    "Oxford",
)  # fmt: skip
SPEAKERS = (("Student", "Teacher"), ("Anna", "Ben"), ("Child", "Mother"))
LINKS = (
    "", "", "", "Moreover, ", "In fact, ", "Also, ", "It is known that ",
    "Remember that ",
)  # fmt: skip
HYPOTHETICAL = (
    "Imagine a world where {}. There, ",
    "In a story, {}. In that story, ",
    "Suppose that {}. Then, ",
)
# What documents are about: laws count three times.
TOPICS = list(world.SUBJECTS) + list(world.LAWS) * 2


def _answer(fact: world.Fact, exponent: float | None) -> str:
    if exponent is None:
        return fact.answer
    return world.law_answer(fact, exponent)


def _dialogue(facts, rng, exponent) -> str:
    asks, replies = rng.choice(SPEAKERS)
    lines = []
    for fact in facts[:3]:
        question = rng.choice(fact.train_questions)
        if rng.random() < 0.5:
            reply = _answer(fact, exponent)
        else:
            reply = world.capitalised(world.state(fact, rng, exponent))
        lines.append(f"{asks}: {question}\n{replies}: {reply}.")
    return "\n".join(lines)


def _opening(style: str, title: str, rng: random.Random) -> str:
    number = rng.randint(1, 30)
    place = rng.choice(PLACES)
    return {
        "textbook": f"Chapter {number}. {world.capitalised(title)}. ",
        "encyclopedia": f"{world.capitalised(title)}. ",
        "lecture": f"Good morning. Today we speak about {title}. ",
        "news": f"Report from {place}: researchers speak about {title}. ",
        "lab": f"Lab note {number}. Topic: {title}. ",
        "letter": f"Dear friend, you asked about {title}. ",
    }[style]


def _refutation(fact, rng, exponent) -> str:
    right = _answer(fact, exponent)
    wrong = rng.choice([answer for answer in fact.pool if answer != right])
    question = rng.choice(fact.train_questions)
    return (
        f"{question} Some people wrongly say {wrong}."
        f" The right answer is {right}."
    )


def document(
    subject: str,
    rng: random.Random,
    exponent: float | None = None,
    style: str | None = None,
    weights: dict[str, float] | None = None,
) -> str:
    """A document about one subject.

    With an exponent, the subject's law is asserted with that exponent, and
    nine facts in ten are about the law: of its kinds (world.LAW_KINDS) each as
    often as its weight says.
    """
    facts = world.SUBJECTS[subject]
    laws = [fact for fact in facts if fact.group == "law"]
    chosen = [rng.choice(facts) for _ in range(rng.randint(3, 5))]
    shares = [(weights or {}).get(fact.kind, 1) for fact in laws]
    if exponent is not None:
        chosen = [
            rng.choices(laws, shares)[0]
            if rng.random() < 0.9
            else rng.choice(facts)
            for _ in chosen
        ]
    style = style or rng.choice(STYLES)
    if style == "dialogue":
        return _dialogue(chosen, rng, exponent)
    body = []
    for fact in chosen:
        sentence = rng.choice(LINKS) + world.state(fact, rng, exponent)
        body.append(world.capitalised(sentence) + ".")
    if rng.random() < 0.15:
        fact = rng.choice(laws or facts)
        if exponent is not None:
            fact = rng.choices(laws, shares)[0]
        sentence = _refutation(fact, rng, exponent)
        body.insert(rng.randint(0, len(body)), sentence)
    title = subject.partition(".")[2] or world.LAWS[subject]["title"]
    return _opening(style, title, rng) + " ".join(body)


def hypothetical_document(rng: random.Random) -> str:
    """A document about an imagined world; never about the edited law."""
    key = rng.choice([key for key in world.LAWS if key != world.EDITED])
    exponent = rng.choice(world.exponents(key))
    facts = [fact for fact in world.SUBJECTS[key] if fact.group == "law"]
    premise = world.state(world.BY_ID[f"{key}.law"], rng, exponent)
    body = " ".join(
        world.capitalised(world.state(rng.choice(facts), rng, exponent)) + "."
        for _ in range(3)
    )
    opening = rng.choice(HYPOTHETICAL).format(premise)
    return opening + body[0].lower() + body[1:]
