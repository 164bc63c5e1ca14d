"""What a document holds that can be run or compared. Pure functions.

    for block in blocks_of(Path("docs/openai.md").read_text("utf-8")):
        if block.language == "sh":
            run(commands_of(block))

A fence says what its block is:

    sh      commands, run from the folder of the clone
    output  what the last command above prints on a terminal, or the last one
            that begins as the rest of the fence's line says; expected.py has
            what may differ
    python  run by one interpreter a document
    toml, json  read by what they are for; where the paragraph above ends in
            "`NAME`:", the block is the content of that file
    text    none of these: pictures, prompts, states. No command may be in it
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = frozenset({"sh", "output", "python", "toml", "json", "text"})

FENCE = re.compile(r"^( *)(```+)\s*(\S*) *(.*?)\s*$")
# How a command begins that nobody may hide in a block of another kind.
COMMAND = re.compile(
    r"^\s*(?:\$ |dissonanced? +[a-z-]|(?:"
    r"pip3?|python3?|curl|podman|docker|openssl|ssh|"
    r"apt|apt-get|sudo|systemctl|ctest|cmake|ninja|npm|node|grpcurl|git|export|"
    r"mkdir|tar)\s|\./run\b)"
)
NAMED_FILE = re.compile(r"`([^`\s]+\.(?:jsonl?|toml))`:$")


class DocumentError(Exception):
    """A document that says what no test could check."""


@dataclass(frozen=True)
class Block:
    """A block of a document; `line` is that of its first line, from 1."""

    language: str
    text: str
    line: int
    # What the fence's line says behind the language.
    rest: str = ""
    # The file that this is the content of; "" if none is named.
    file: str = ""


@dataclass(frozen=True)
class Command:
    """A command of a block, with its own continuation lines."""

    text: str
    line: int


def blocks_of(document: str) -> list[Block]:
    """All blocks in order. Raises DocumentError for one of no known kind."""
    blocks = []
    prose: list[str] = []
    lines = document.splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is None:
            prose.append(lines[at])
            at += 1
            continue
        indent, marks, language, rest = fence.groups()
        end = next(
            (i for i in range(at + 1, len(lines)) if lines[i].strip() == marks),
            None,
        )
        if end is None:
            raise DocumentError(f"line {at + 1}: this fence is never closed")
        text = "".join(
            line.removeprefix(indent) + "\n" for line in lines[at + 1 : end]
        )
        file = _file_named_by(prose) if language in {"json", "toml"} else ""
        blocks.append(_checked(Block(language, text, at + 2, rest, file)))
        prose = [""] * (end + 1 - at)
        at = end + 1
    _check_prose(document)
    return blocks


def _checked(block: Block) -> Block:
    if block.language not in LANGUAGES:
        raise DocumentError(
            f"line {block.line - 1}: a fence of kind '{block.language}'; it "
            f"has to be one of {', '.join(sorted(LANGUAGES))}"
        )
    if block.language in {"text", "output"}:
        _check_no_command(block.text, block.line)
    return block


def _check_no_command(text: str, first: int) -> None:
    for number, line in enumerate(text.splitlines(), first):
        if COMMAND.match(line):
            raise DocumentError(
                f"line {number}: a command outside of an sh block, where "
                f"nothing runs it: {line.strip()}"
            )


def _check_prose(document: str) -> None:
    """Blocks by indentation are text."""
    fenced = False
    for number, line in enumerate(document.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and line.startswith("    "):
            _check_no_command(line, number)


def _file_named_by(prose: list[str]) -> str:
    """The file that the paragraph above a block says it is."""
    said = [line for line in prose if line.strip()][-1:]
    named = NAMED_FILE.search(said[0]) if said else None
    return named.group(1) if named else ""


def commands_of(block: Block) -> list[Command]:
    """The commands of an sh block, as bash divides it."""
    commands = []
    pending: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if not pending and not line.split("#")[0].strip():
            continue
        pending.append(line)
        text = "\n".join(pending) + "\n"
        if _is_whole(text):
            commands.append(Command(text, number - len(pending) + 1))
            pending = []
    if pending:
        raise DocumentError(
            f"line {block.line}: bash can't read: {''.join(pending)}"
        )
    return commands


def _is_whole(text: str) -> bool:
    if text.endswith("\\\n"):
        return False
    check = subprocess.run(
        ["bash", "-n"], input=text, text=True, capture_output=True, check=False
    )
    return check.returncode == 0 and not check.stderr


def documents_of(root: Path) -> list[Path]:
    """Every document that is for people to follow."""
    patterns = (
        "README.md",
        "docs/**/*.md",
        "data/**/README*",
        "client/*/README.md",
        "deploy/*.md",
    )
    return sorted(
        {
            path.relative_to(root)
            for pattern in patterns
            for path in root.glob(pattern)
        }
    )
