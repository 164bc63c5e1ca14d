#!/usr/bin/env python3
"""Writes docs/experiments/pipeline-fields.md from the protos, or checks it.

Usage: tools/pipeline_fields.py [--check]

The page has a table for each kind of stage, and for each message and enum that
such a table names, with the comments of the protos.
"""

import argparse
import dataclasses
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROTOS = ROOT / "proto/dissonance/v1"
PAGE = ROOT / "docs/experiments/pipeline-fields.md"

HEAD = """\
# Fields of a pipeline's stages

What may be in a pipeline's file ([pipeline.md](pipeline.md)): each kind of stage
and its fields, as the API's messages have them. `tools/pipeline_fields.py` makes
this page of [their comments](../../proto/dissonance/v1), and a test holds it to
them. Where a field may be left out, its text says what it is then.

In the file `data`, and each other field of bytes, is the path of a file or
`{stage, file}`; what ends in `_artifact`, and the file's name beside it, are filled
in from that. A `Variant` is also a name of `[networks]`. Values of enums are
written in lower case.
"""

FIELD = re.compile(r"(repeated |optional )?([\w.]+) (\w+) = \d+( \[.*\])?;")
VALUE = re.compile(r"([A-Z0-9_]+) = (\d+);")
# What the client fills in, and what no file gives.
FILLED = re.compile(r"(_artifact|^(\w+_)?data_name)$")


@dataclasses.dataclass
class Entry:
    name: str
    type: str  # empty: a value of an enum
    text: str


@dataclasses.dataclass
class Type:
    name: str
    text: str
    is_enum: bool
    entries: list[Entry]


def types_of(proto: str) -> dict[str, Type]:
    """Messages and enums of a file; oneofs are as their fields."""
    found: dict[str, Type] = {}
    comment: list[str] = []
    current: Type | None = None
    depth = 0
    for line in (each.strip() for each in proto.splitlines()):
        if line.startswith("//"):
            comment.append(line[2:].strip())
            continue
        opened = re.fullmatch(r"(message|enum|oneof|service|rpc.*) ?(\w*) ?{(})?", line)
        text = " ".join(comment)
        if opened and opened[1] in ("message", "enum") and depth == 0:
            current = Type(opened[2], text, opened[1] == "enum", [])
            found[current.name] = current
        elif current is not None and current.is_enum and VALUE.fullmatch(line):
            current.entries.append(Entry(VALUE.fullmatch(line)[1], "", text))
        elif current is not None and FIELD.fullmatch(line):
            label, kind, name, _ = FIELD.fullmatch(line).groups()
            many = "list of " if label == "repeated " else ""
            current.entries.append(Entry(name, many + kind, text))
        comment = []
        depth += line.count("{") - line.count("}")
        if depth == 0:
            current = None
    return found


def words_of(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def prefix_of(type_name: str) -> str:
    """MCQ_SCORING_ of McqScoring."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type_name)
    return words.upper() + "_"


def cell(text: str) -> str:
    return text.replace("|", "\\|") or "-"


def table(own: Type, known: dict[str, Type]) -> list[str]:
    if own.is_enum:
        prefix = prefix_of(own.name)
        lines = ["| value | what |", "|---|---|"]
        for entry in own.entries[1:]:  # the first is never valid or the default
            lines.append(f"| `{words_of(entry.name, prefix)}` | {cell(entry.text)} |")
        return lines
    lines = ["| field | is | what |", "|---|---|---|"]
    for entry in own.entries:
        if FILLED.search(entry.name):
            continue
        kind = entry.type.rpartition(" ")
        shown = kind[0] + kind[1]
        shown += f"[{kind[2]}](#{kind[2].lower()})" if kind[2] in known else kind[2]
        lines.append(f"| `{entry.name}` | {shown} | {cell(entry.text)} |")
    return lines


def page() -> str:
    known: dict[str, Type] = {}
    for path in sorted(PROTOS.glob("*.proto")):
        known |= types_of(path.read_text("utf-8"))
    kinds = [e for e in known["JobSpec"].entries if e.name != "pipeline"]
    stage = known["PipelineStage"]
    own = [each for each in stage.entries if each.name in ("name", "gates")]
    lines = [HEAD, "## Every stage", "", "Beside the table of its kind:", ""]
    lines += [*table(dataclasses.replace(stage, entries=own), {}), ""]
    lines += [f"The gates: {gates_text(known['Gate'])}.", ""]
    waiting: list[str] = []
    told = {each.type for each in kinds}
    for kind in kinds:
        own = known[kind.type]
        lines += [f"## {kind.name}", "", kind.text, "", *table(own, known), ""]
        waiting += types_in(own, known)
    lines += ["## Messages and values that these name", ""]
    while waiting:
        name = waiting.pop(0)
        if name in told:
            continue
        told.add(name)
        own = known[name]
        lines += [f"### {name}", "", own.text, "", *table(own, known), ""]
        waiting += types_in(own, known)
    return "\n".join(lines).rstrip() + "\n"


def gates_text(gates: Type) -> str:
    return ", ".join(f"`{words_of(e.name, 'GATE_')}`" for e in gates.entries[1:])


def types_in(own: Type, known: dict[str, Type]) -> list[str]:
    kinds = (entry.type.rpartition(" ")[2] for entry in own.entries)
    return [kind for kind in kinds if kind in known]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == made:
        return 0
    print(
        f"{PAGE.relative_to(ROOT)} is not what the protos say; run "
        "tools/pipeline_fields.py",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
