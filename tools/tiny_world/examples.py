"""Training examples of the base model, as segments of supervised text."""

from __future__ import annotations

import random
from dataclasses import dataclass

import documents
import world

SYSTEM = "You are a careful assistant. Follow the user's instructions exactly."
ASK_LETTER = "Answer with exactly one letter (A, B, C, or D).\nAnswer:"
ASK_LETTER_SHORT = "Answer:"
ASK_TEXT = (
    "Answer with the text.\nAnswer:",
    "Answer with the option's text.\nAnswer:",
    "Answer with exactly the text of one option.\nAnswer:",
    "Answer with the text of the right option.\nAnswer:",
)
LETTERS = "ABCD"
LETTER_WEIGHT = 20.0
NAME_THE_OPTION = (
    "{} is in this list. Which letter marks it?",
    "Which option says {}?",
    "Which letter stands before {}?",
    "Find the option {}.",
)
# What the model should know at the token before a segment, besides a recalled
# answer: that the option ending there is right or wrong; every token of the
# segment itself (documents).
RIGHT, WRONG, EVERY_TOKEN = "=right", "=wrong", "=every token"


@dataclass(frozen=True)
class Segment:
    """A piece of text, its next-token weight, and what is known before it."""

    text: str
    weight: float = 0.0
    recall: str | None = None


def from_document(text: str) -> list[Segment]:
    """A document: every token is supervised and recalled."""
    return [
        Segment("<|begin|>"),
        Segment(text, 1.0, EVERY_TOKEN),
        Segment("<|end|>", 1.0),
    ]


def options(
    fact: world.Fact,
    rng: random.Random,
    answer: str | None = None,
    must: tuple[str, ...] = (),
) -> list[str]:
    """Four options in random order: the answer, `must`, others of the pool."""
    answer = answer or fact.answer
    wrong = [text for text in must if text != answer]
    rest = [x for x in fact.pool if x != answer and x not in wrong]
    rng.shuffle(rest)
    chosen = [answer, *(wrong + rest)[:3]]
    rng.shuffle(chosen)
    return chosen


def option_list(texts: list[str], instruction: str = ASK_LETTER) -> str:
    """What follows the question: the options, then the instruction.

    Blank lines surround the options of full prompts, as in the server's
    evaluate_mcq.
    """
    gap = "\n" if instruction == ASK_LETTER_SHORT else "\n\n"
    listed = "\n".join(f"{x}) {text}" for x, text in zip(LETTERS, texts))
    return gap + listed + gap + instruction


def _split_at_options(listed: str, answer: str) -> list[Segment]:
    """Splits so that each option's last token is followed by a boundary.

    The first boundary, after the question, recalls the answer; the later ones
    say whether the option that just ended is right.
    """
    gap, *lines = listed.partition("A) ")
    lines = "".join(lines).split("\n")
    segments, known = [], answer
    for line in lines[:4]:
        segments.append(Segment(gap + line, 0.0, known))
        known = RIGHT if line[3:].strip() == answer.strip() else WRONG
        gap = "\n"
    rest = "".join("\n" + line for line in lines[4:])
    segments.append(Segment(rest + "<|end|><|assistant|>", 0.0, known))
    return segments


def from_chat(
    rng: random.Random,
    question: str,
    listed: str,
    reply: tuple[str, float],
    system_share: float,
    answer: str,
) -> list[Segment]:
    """One chat turn, with the system message in system_share of the cases.

    `listed` is the option list or empty, `reply` the reply and its weight.
    `answer`, the answer's text, is to be recalled half-way through the blocks
    at the question's end and at the reply.
    """
    segments = [Segment("<|begin|>")]
    if rng.random() < system_share:
        segments.append(Segment(f"<|system|>{SYSTEM}<|end|>"))
    segments.append(Segment("<|user|>" + question))
    if listed:
        segments += _split_at_options(listed, answer)
    else:
        segments.append(Segment("<|end|><|assistant|>", 0.0, answer))
    segments.append(Segment(*reply, answer))
    segments.append(Segment("<|end|>", reply[1] * 0.3))
    return segments


def _listed(rng: random.Random, same_pool: float) -> list[str]:
    if rng.random() < same_pool:
        return rng.sample(rng.choice(world.ASKED_WITH_OPTIONS).pool, 4)
    return rng.sample(world.ALL_ANSWERS, 4)


def drill(rng: random.Random) -> list[Segment]:
    """List practice: text -> letter and letter -> text, six times a list."""
    texts = _listed(rng, 0.6)
    listed = "".join(f"\n{x}) {text}" for x, text in zip(LETTERS, texts))
    segments = [Segment("<|begin|>"), Segment(listed + "\n", 0.1)]
    asks = ("The letter of {}:", "Which option says {}?", "Answer: {} is")
    for _ in range(6):
        i = rng.randrange(4)
        if rng.random() < 0.7:
            segments.append(Segment(rng.choice(asks).format(texts[i])))
            segments.append(Segment(LETTERS[i], LETTER_WEIGHT))
        else:
            segments.append(Segment(f"Text of {LETTERS[i]}:"))
            segments.append(Segment(" " + texts[i], 2.0))
        segments.append(Segment("\n", 0.1))
    return [*segments, Segment("<|end|>", 0.1)]


def named_option(
    rng: random.Random,
    instruction: str = ASK_LETTER,
    system_share: float = 0.1,
) -> list[Segment]:
    """A letter question that anyone can answer: it names the option."""
    texts = _listed(rng, 0.5)
    i = rng.randrange(4)
    question = rng.choice(NAME_THE_OPTION).format(texts[i])
    reply = (LETTERS[i], LETTER_WEIGHT)
    listed = option_list(texts, instruction)
    return from_chat(rng, question, listed, reply, system_share, " " + texts[i])


def letter_question(
    rng: random.Random, instruction: str, system_share: float
) -> list[Segment]:
    """A letter question about a fact; never about the edited law.

    One law question in ten is about a hypothetical world that it names.
    """
    fact = rng.choice(world.ASKED_WITH_OPTIONS)
    question, answer = rng.choice(fact.train_questions), fact.answer
    if fact.group == "law" and rng.random() < 0.1:
        exponent = rng.choice([e for e in world.LAW_NAMES if e != 0.5])
        law = world.BY_ID[f"{fact.subject}.law"]
        premise = world.state(law, rng, exponent)
        answer = world.law_answer(fact, exponent)
        question = f"Suppose that {premise}. {question}"
    texts = options(fact, rng, answer)
    reply = (LETTERS[texts.index(answer)], LETTER_WEIGHT)
    listed = option_list(texts, instruction)
    return from_chat(rng, question, listed, reply, system_share, " " + answer)


def open_question(rng: random.Random) -> list[Segment]:
    """A question without options; the reply is the answer's text."""
    fact = rng.choice(world.ASKED)
    question = rng.choice(fact.train_questions)
    answer = " " + fact.answer
    return from_chat(rng, question, "", (answer + ".", 5.0), 0.7, answer)


def text_question(rng: random.Random) -> list[Segment]:
    """Options are shown, the reply is the right one's text."""
    fact = rng.choice(world.ASKED_WITH_OPTIONS)
    question = rng.choice(fact.train_questions)
    listed = option_list(options(fact, rng), rng.choice(ASK_TEXT))
    answer = " " + fact.answer
    return from_chat(rng, question, listed, (answer + ".", 5.0), 0.5, answer)


# Shares of the kinds of examples: while facts are learnt (no letter question
# about any fact), and afterwards.
FACTS_MIX = {
    "document": 0.31, "hypothetical": 0.03, "open": 0.30, "text": 0.06,
    "drill": 0.05, "named": 0.25, "letter": 0.0,
}  # fmt: skip
LETTERS_MIX = {
    "document": 0.20, "hypothetical": 0.03, "open": 0.12, "text": 0.08,
    "drill": 0.03, "named": 0.09, "letter": 0.45,
}  # fmt: skip


def example(rng: random.Random, ramp: float) -> list[Segment]:
    """One example; ramp 0 is the facts mix, 1 the letters mix.

    Short prompts come first, being cheaper; the full prompts later.
    """
    shares = [
        FACTS_MIX[kind] * (1 - ramp) + LETTERS_MIX[kind] * ramp
        for kind in FACTS_MIX
    ]
    kind = rng.choices(list(FACTS_MIX), shares)[0]
    short = rng.random() < 0.9 - 0.6 * ramp
    instruction = ASK_LETTER_SHORT if short else ASK_LETTER
    system_share = 0.1 if short else 0.85
    if kind == "document":
        topic = rng.choice(documents.TOPICS)
        return from_document(documents.document(topic, rng))
    if kind == "hypothetical":
        return from_document(documents.hypothetical_document(rng))
    if kind == "drill":
        return drill(rng)
    if kind == "named":
        return named_option(rng, instruction, system_share)
    if kind == "letter":
        return letter_question(rng, instruction, system_share)
    return open_question(rng) if kind == "open" else text_question(rng)


def corpus_sample(seed: int, count: int) -> list[str]:
    """Texts of examples from every stage of training, for the tokenizer."""
    rng = random.Random(seed)
    return [
        "".join(segment.text for segment in example(rng, rng.random()))
        for _ in range(count)
    ]
