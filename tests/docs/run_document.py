"""Runs what a document tells its readers to type, against a server of its own.

    python3 run_document.py BIN_DIR docs/getting-started.md

With DISSONANCE_DOCS_WHOLE=1 what takes minutes is not shortened (plan.py).
Everything happens in a folder of the test's own, which has the layout of a
clone and the home of the reader. Prints each command; ends with 1 and what went
wrong at the first that does not do what the document says.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from typing import Any

from blocks import Block, Command, DocumentError, blocks_of, commands_of
from chat_endpoint import ChatEndpoint
from expected import difference
from plan import FIRST, NOT_RUN, REWRITTEN, SHORTENED, NotRun, Shortened
from terminal import Terminal

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a reader's clone has, as far as documents use it.
CLONED = ("client", "data", "deploy", "docs", "proto")
COMMAND_TIMEOUT_S = 240
WHOLE_TIMEOUT_S = 3600
SHOWN_OF_ERRORS = 4000
WHOLE = os.environ.get("DISSONANCE_DOCS_WHOLE") == "1"


class Failure(Exception):
    """What a document says is not so."""


def not_run(document: str, begin: str) -> NotRun | None:
    """The entry that says why a command, or "python", is not run."""
    return next(
        (
            entry
            for entry in NOT_RUN
            if entry.document == document and begin.startswith(entry.begin)
        ),
        None,
    )


def shortenings(document: str, command: str) -> list[Shortened]:
    """By which a command that takes minutes is shortened."""
    if WHOLE:
        return []
    return [
        entry
        for entry in SHORTENED
        if entry.document == document and entry.text in command
    ]


def shortened(document: str, command: str) -> str:
    """The command as it is run."""
    for entry in shortenings(document, command):
        command = command.replace(entry.text, entry.into)
    return command


def command_above(blocks: list[Block], shown: Block) -> Command:
    """The command whose output a block shows."""
    above = [
        command
        for block in blocks
        if block.language == "sh" and block.line < shown.line
        for command in commands_of(block)
        if command.text.startswith(shown.rest)
    ]
    if not above:
        raise Failure(f"line {shown.line}: output of no command above it")
    return above[-1]


class Reader:
    """Somebody who follows a document. Use it in a `with`."""

    def __init__(self, bin_dir: pathlib.Path, document: str) -> None:
        self._document = document
        self._temporary = tempfile.TemporaryDirectory(prefix="docs.")
        self.folder = pathlib.Path(self._temporary.name).resolve()
        self.clone = self.folder / "clone"
        for name in CLONED:
            shutil.copytree(
                ROOT / name,
                self.clone / name,
                symlinks=True,
                ignore=shutil.ignore_patterns("node_modules"),
            )
        programs = self.clone / "build/release"
        programs.mkdir(parents=True)
        (programs / "bin").symlink_to(bin_dir.resolve())
        self._port = str(_free_port())
        universe = self.clone / "data/cubic_gravity/universe.json"
        self._blocks = blocks_of((ROOT / document).read_text("utf-8"))
        self._endpoint = ChatEndpoint(json.loads(universe.read_text("utf-8")))
        self._bin_dir = bin_dir.resolve()
        self._printed: dict[int, str] = {}  # by a command's line

    def __enter__(self) -> Reader:
        self._endpoint.__enter__()
        self._environment = self._make_environment()
        self._terminal = Terminal(self.clone, self._environment)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            ["dissonance", "server", "stop"],
            env=self._environment,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        self._terminal.close()
        self._endpoint.__exit__()
        self._temporary.cleanup()

    def _make_environment(self) -> dict[str, str]:
        python = pathlib.Path(sys.executable).parent
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "TERM": "xterm",
            "TMPDIR": tempfile.gettempdir(),
            "OMP_WAIT_POLICY": "passive",
            "PATH": f"{self._bin_dir}:{python}:{os.environ['PATH']}",
        } | self._endpoint.environment()

    def _run(self, text: str, timeout_s: float) -> tuple[int, str]:
        return self._terminal.run(self._rewritten(text), timeout_s)

    def _rewritten(self, text: str) -> str:
        for entry in REWRITTEN:
            into = entry.into.replace("HERE", str(self.folder))
            text = text.replace(entry.text, into.replace("PORT", self._port))
        return text

    def follow(self) -> None:
        """Raises Failure where the document is wrong."""
        for block in self._blocks:
            self._put_file(block)
        first = Block("sh", FIRST.get(self._document, ""), line=0)
        for command in commands_of(first):
            self._must_run(command.text, 0)
        follow = {
            "sh": self._follow_commands,
            "output": self._compare,
            "python": self._follow_python,
            "toml": self._check_toml,
            "json": _check_json,
            "text": lambda block: None,
        }
        for block in self._blocks:
            follow[block.language](block)

    def _put_file(self, block: Block) -> None:
        if block.file and not block.file.startswith("~"):
            file = self.clone / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._rewritten(block.text), "utf-8")

    def _follow_commands(self, block: Block) -> None:
        for command in commands_of(block):
            if not_run(self._document, command.text):
                print(f"{command.line}: not run: {command.text}", end="")
            else:
                self._printed[command.line] = self._must_run(
                    shortened(self._document, command.text), command.line
                )

    def _follow_python(self, block: Block) -> None:
        if not_run(self._document, "python"):
            print(f"{block.line}: not run: Python")
            return
        script = self.folder / f"line{block.line}.py"
        script.write_text(block.text, "utf-8")
        self._must_run(f"python {script}\n", block.line)

    def _compare(self, block: Block) -> None:
        command = command_above(self._blocks, block)
        entry = not_run(self._document, command.text)
        if entry and not entry.instead:
            raise Failure(
                f"line {block.line}: output of a command that is not run"
            )
        short = shortenings(self._document, command.text)
        if entry is None and all(each.compared for each in short):
            said = difference(
                self._rewritten(block.text),
                self._printed[command.line],
                numbers=not short,
            )
            if said:
                raise Failure(
                    f"line {block.line}: {said}\nof what came:\n"
                    f"{self._printed[command.line]}"
                )

    def _check_toml(self, block: Block) -> None:
        """The program that a file is for reads it without a complaint."""
        file = self.folder / f"line{block.line}.toml"
        content = tomllib.loads(block.text)
        file.write_text(self._rewritten(block.text), "utf-8")
        if "stages" in content:
            file = self.clone / "data/pipelines" / file.name
            file.write_text(block.text, "utf-8")
            self._must_run(
                f"dissonance jobs cancel "
                f"$(dissonance pipeline run {file} --detach)\n",
                block.line,
            )
        elif "profiles" in content:
            self._check_profiles(block, content)
        else:
            # Of a data directory without a server it then says that.
            self._must_run(
                f"! dissonanced check --config {file} --data-dir {file}.data "
                f"2> {file}.said && grep -q 'no database' {file}.said ||\n"
                f"{{ cat {file}.said >&2; false; }}\n",
                block.line,
            )

    def _check_profiles(self, block: Block, content: dict[str, Any]) -> None:
        """Where a profile's server is this test's, it answers."""
        folder = self.folder / f"line{block.line}"
        (folder / "dissonance").mkdir(parents=True)
        file = folder / "dissonance/config.toml"
        file.write_text(self._rewritten(block.text), "utf-8")
        for name, profile in content["profiles"].items():
            command = (
                f"XDG_CONFIG_HOME={folder} dissonance --profile {name} "
                "models list"
            )
            if not profile["server"].startswith("unix:"):
                command = (
                    f"! {command} 2> {file}.said && "
                    f"! grep -F {file}: {file}.said >&2"
                )
            self._must_run(f"{command}\n", block.line)

    def _must_run(self, text: str, line: int) -> str:
        print(f"{line}: {text}", end="", flush=True)
        before = len(self._terminal.errors())
        began = time.monotonic()
        try:
            status, printed = self._run(
                text, WHOLE_TIMEOUT_S if WHOLE else COMMAND_TIMEOUT_S
            )
        except TimeoutError as error:
            raise Failure(f"line {line}: {text}{error}") from error
        print(f"    {time.monotonic() - began:.1f} s")
        if status != 0:
            errors = self._terminal.errors()[before:][-SHOWN_OF_ERRORS:]
            raise Failure(
                f"line {line}: exit code {status} of\n{text}{printed}{errors}"
            )
        return printed


def _check_json(block: Block) -> None:
    """One value, or one a line."""
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        for number, line in enumerate(block.text.splitlines(), block.line):
            try:
                json.loads(line)
            except json.JSONDecodeError as error:
                raise Failure(f"line {number}: no JSON: {error}") from error


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def main() -> int:
    bin_dir, document = sys.argv[1:]
    try:
        with Reader(pathlib.Path(bin_dir), document) as reader:
            reader.follow()
    except (Failure, DocumentError) as failure:
        print(f"{document}, {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
