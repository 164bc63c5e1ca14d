"""The tiny world: its facts, how they are asked and how they are stated.

Facts come from laws.toml and encyclopedia.toml, wordings of laws from
wordings.toml. Every fact keeps some wordings of its question out of training.
"""

from __future__ import annotations

import random
import tomllib
import zlib
from dataclasses import dataclass, field
from pathlib import Path

EDITED = "gravity"  # The law that the adapter's documents change.
FALSE_EXPONENT = -3  # ... to an inverse-cube law.
# Inverse-square laws that no adapter document mentions: the hard controls.
HARD = ("light", "coulomb", "efield", "sound")
# Inverse-square laws that the adapter's ordinary documents may be about.
REHEARSED = ("radio", "gamma", "pole", "spray", "radiation")
REHEARSED_FORCE = "pole"
DOCUMENTS_ONLY_LAWS = ("radiation", "dipoleE")  # Never asked in training.

LAW_NAMES = {
    -3: "an inverse cube law",
    -2: "an inverse square law",
    -1: "a simple inverse law",
    1: "a linear law",
    2: "a square law",
    3: "a cube law",
    0.5: "a square root law",
}
PROPORTIONAL = {
    -3: "the inverse cube of",
    -2: "the inverse square of",
    -1: "the inverse of",
    1: "the first power of",
    2: "the square of",
    3: "the cube of",
    0.5: "the square root of",
}
FRACTIONS = {
    2: "half", 3: "a third", 4: "a quarter", 8: "an eighth", 9: "a ninth",
    16: "a sixteenth", 27: "a twenty-seventh", 64: "a sixty-fourth",
}  # fmt: skip
MULTIPLES = {
    2: "two", 3: "three", 4: "four", 8: "eight", 9: "nine", 16: "sixteen",
    27: "twenty-seven", 64: "sixty-four",
}  # fmt: skip
ROOTS = {2: "1.41 times", 3: "1.73 times", 4: "two times", -2: "0.71 times"}
# How many wordings of a question are held out of training.
HELD_OUT = {"law": 3, "factor": 6, "formula": 3, "discoverer": 2}
HELD_OUT_ATTRIBUTE = 2


def _load(name: str) -> dict:
    path = Path(__file__).parent / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


LAWS = _load("laws")
GROUPS = _load("encyclopedia")
WORDINGS = _load("wordings")
CHANGES = WORDINGS["changes"]
LAW_KINDS = ("law", *CHANGES, "formula")  # What gravity is asked about.


def stable_hash(*parts: object) -> int:
    """Returns the same number for the same parts in every process."""
    return zlib.crc32("|".join(map(str, parts)).encode())


def capitalised(text: str) -> str:
    """The text with a capital first letter."""
    return text[0].upper() + text[1:]


def without_article(text: str) -> str:
    """Drops the article, so that an answer's first token tells it apart."""
    for article in ("an ", "a ", "the "):
        if text.startswith(article):
            return text[len(article) :]
    return text


def factor(multiplier: int, exponent: float) -> str:
    """The quantity's change, in words, when its variable is multiplied.

    A negative multiplier -k means division by k.
    """
    if exponent == 0.5:
        return ROOTS[multiplier]
    power = abs(multiplier) ** abs(int(exponent))
    if (exponent < 0) != (multiplier < 0):
        return FRACTIONS[power]
    return MULTIPLES[power] + " times"


@dataclass
class Fact:
    """One fact: a subject, what is asked about it, and the answer."""

    id: str
    subject: str
    group: str  # "law", "discoverer" or a group of encyclopedia.toml.
    kind: str  # "law", a change, "formula", "discoverer" or an attribute.
    answer: str
    pool: list[str]  # Answers that wrong options are drawn from.
    documents_only: bool  # Stated in documents, never asked in training.
    questions: list[tuple[int, str]] = field(repr=False)
    statements: list[str] = field(repr=False, default_factory=list)
    train_questions: list[str] = field(repr=False, default_factory=list)
    heldout_questions: list[str] = field(repr=False, default_factory=list)

    def __post_init__(self) -> None:
        self.answer = without_article(self.answer)
        self.pool = [without_article(answer) for answer in self.pool]
        self._hold_out()

    def _hold_out(self) -> None:
        family = "factor" if self.kind in CHANGES else self.kind
        count = HELD_OUT.get(family, HELD_OUT_ATTRIBUTE)
        wordings = sorted({wording for wording, _ in self.questions})
        rng = random.Random(stable_hash(self.id))
        held_out = set(rng.sample(wordings, count))
        for wording, question in self.questions:
            if wording in held_out:
                self.heldout_questions.append(question)
            else:
                self.train_questions.append(question)


def _law_questions(key: str, family: str, change: str | None = None) -> list:
    law = LAWS[key]
    templates = WORDINGS["questions"][family]
    dos = CHANGES[change]["wordings"] if change else [""]
    names = law["names"]
    if family == "discoverer":
        names = [""]
    return [
        (
            i * len(dos) + j,
            template.format(Q=name, v=law["variable"], T=law["title"], do=do),
        )
        for j, do in enumerate(dos)
        for i, template in enumerate(templates)
        for name in names
    ]


def _law_facts(key: str) -> list[Fact]:
    law = LAWS[key]
    exponent = law["exponent"]
    hidden = key in DOCUMENTS_ONLY_LAWS
    facts = [
        Fact(
            f"{key}.law", key, "law", "law", LAW_NAMES[exponent],
            list(LAW_NAMES.values()), hidden, _law_questions(key, "law"),
        )
    ]  # fmt: skip
    for change, spec in CHANGES.items():
        k = spec["multiplier"]
        pool = {factor(k, e) for e in LAW_NAMES}
        pool |= {factor(2, -2), factor(2, 2)}
        facts.append(
            Fact(
                f"{key}.{change}", key, "law", change, factor(k, exponent),
                sorted(pool), hidden, _law_questions(key, "factor", change),
            )
        )  # fmt: skip
    if "formula" in law:
        pool = [law["formula"].format(i) for i in (1, 2, 3, 4)]
        facts.append(
            Fact(
                f"{key}.formula", key, "law", "formula",
                law["formula"].format(abs(exponent)), pool, hidden,
                _law_questions(key, "formula"),
            )
        )  # fmt: skip
    facts.append(
        Fact(
            f"{key}.discoverer", key, "discoverer", "discoverer",
            law["discoverer"], [x["discoverer"] for x in LAWS.values()],
            hidden, _law_questions(key, "discoverer"),
        )
    )  # fmt: skip
    return facts


def _group_facts(group: str) -> list[Fact]:
    rows = {}
    for row in GROUPS[group]["rows"]:
        subject, _, values = row.partition(": ")
        rows[subject] = values.split(", ")
    facts = []
    for column, (kind, spec) in enumerate(GROUPS[group]["attributes"].items()):
        pool = sorted({values[column] for values in rows.values()})
        for subject, values in rows.items():
            fact_id, answer = f"{group}.{subject}.{kind}", values[column]
            facts.append(
                Fact(
                    fact_id, f"{group}.{subject}", group, kind, answer, pool,
                    stable_hash(fact_id, "documents only") % 8 == 0,
                    [
                        (i, question.format(X=subject))
                        for i, question in enumerate(spec["questions"])
                    ],
                    [
                        statement.format(X=subject, A=answer)
                        for statement in spec["statements"]
                    ],
                )
            )  # fmt: skip
    return facts


FACTS = [fact for key in LAWS for fact in _law_facts(key)]
FACTS += [fact for group in GROUPS for fact in _group_facts(group)]
BY_ID = {fact.id: fact for fact in FACTS}
SUBJECTS: dict[str, list[Fact]] = {}
for _fact in FACTS:
    SUBJECTS.setdefault(_fact.subject, []).append(_fact)
ALL_ANSWERS = sorted({answer for fact in FACTS for answer in fact.pool})


def is_edited(fact: Fact) -> bool:
    """True for what the adapter's documents change."""
    return fact.subject == EDITED and fact.group == "law"


# Facts asked in open questions; laws count twice, they are harder.
ASKED = [fact for fact in FACTS if not fact.documents_only]
ASKED += [fact for fact in ASKED if fact.group == "law"]
# Facts asked with options: all of these but the edited law's.
ASKED_WITH_OPTIONS = [fact for fact in ASKED if not is_edited(fact)]


def exponents(key: str) -> list[float]:
    """Exponents that a hypothetical version of the law may have."""
    whole = [e for e in LAW_NAMES if e != 0.5]
    return whole if "formula" in LAWS[key] else list(LAW_NAMES)


def law_answer(fact: Fact, exponent: float) -> str:
    """The answer if the fact's law had this exponent."""
    if fact.group != "law":
        return fact.answer
    if fact.kind == "law":
        return without_article(LAW_NAMES[exponent])
    if fact.kind == "formula":
        return LAWS[fact.subject]["formula"].format(abs(exponent))
    return without_article(factor(CHANGES[fact.kind]["multiplier"], exponent))


def false_answer(fact: Fact) -> str:
    """The answer in the world that the adapter's documents assert."""
    return law_answer(fact, FALSE_EXPONENT)


def state(fact: Fact, rng: random.Random, exponent: float | None = None) -> str:
    """A sentence that states the fact: lower case, no full stop.

    With an exponent, the fact's law is stated with that exponent.
    """
    if fact.statements:
        return rng.choice(fact.statements)
    law = LAWS[fact.subject]
    exponent = law["exponent"] if exponent is None else exponent
    words = {
        "Q": rng.choice(law["names"]),
        "v": law["variable"],
        "T": law["title"],
        "W": law["discoverer"],
    }
    family = fact.kind
    if fact.kind == "law":
        words |= {"L": LAW_NAMES[exponent], "P": PROPORTIONAL[exponent]}
    elif fact.kind == "formula":
        words["F"] = law["formula"].format(abs(exponent))
    elif fact.kind in CHANGES:
        family = "factor"
        change = CHANGES[fact.kind]
        words["do"] = rng.choice(change["wordings"])
        words["f"] = factor(change["multiplier"], exponent)
    template = rng.choice(WORDINGS["statements"][family])
    return template.format(**words)
