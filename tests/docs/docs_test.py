"""That the documents' tests fail where one is wrong, and leave out nothing.

python3 docs_test.py BUILD_DIR
"""

from __future__ import annotations

import itertools
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from blocks import DocumentError, blocks_of, commands_of, documents_of
from expected import difference
from plan import FIRST, NOT_RUN, REWRITTEN, SHORTENED
from run_document import ROOT, command_above, not_run
from terminal import Terminal

HERE = pathlib.Path(__file__).resolve().parent


def fenced(language: str, text: str) -> str:
    """A block as it stands in a document."""
    return f"```{language}\n{text}```\n"


def all_blocks():
    """(document, block) for all documents."""
    for document in map(str, documents_of(ROOT)):
        for block in blocks_of((ROOT / document).read_text("utf-8")):
            yield document, block


def all_commands():
    """(document, command or "python") for all documents."""
    for document, block in all_blocks():
        if block.language == "sh":
            for command in commands_of(block):
                yield document, command.text
        elif block.language == "python":
            yield document, "python"


class BlocksTest(unittest.TestCase):
    def test_refuses_fences_without_a_kind(self):
        with self.assertRaisesRegex(DocumentError, "line 1"):
            blocks_of(fenced("", "x\n"))

    def test_refuses_fences_that_never_end(self):
        with self.assertRaisesRegex(DocumentError, "never closed"):
            blocks_of("```sh\ntrue\n")

    def test_refuses_commands_where_nothing_runs_them(self):
        for text in ("dissonance models list\n", "$ ls\n", "./run test\n"):
            for language in ("text", "output"):
                with self.subTest(text=text, language=language):
                    with self.assertRaisesRegex(DocumentError, "line 2"):
                        blocks_of(fenced(language, text))
        with self.assertRaisesRegex(DocumentError, "line 3"):
            blocks_of("For example\n\n    dissonance models list\n")

    def test_divides_commands_as_bash_does(self):
        (block,) = blocks_of(
            fenced(
                "sh",
                "# first\na \\\n  b\n\nfor i in 1 2; do\n"
                "  c\ndone\nd |\n  e  # why\nf 'x\ny'\n",
            )
        )
        self.assertEqual(
            [(command.line, command.text) for command in commands_of(block)],
            [
                (3, "a \\\n  b\n"),
                (6, "for i in 1 2; do\n  c\ndone\n"),
                (9, "d |\n  e  # why\n"),
                (11, "f 'x\ny'\n"),
            ],
        )

    def test_refuses_what_bash_cannot_read(self):
        (block,) = blocks_of(fenced("sh", "for i in 1 2; do\n"))
        with self.assertRaisesRegex(DocumentError, "bash can't read"):
            commands_of(block)

    def test_knows_which_file_a_block_is(self):
        (block,) = blocks_of(
            "One line a question, in `q.jsonl`:\n\n" + fenced("json", "{}\n")
        )
        self.assertEqual(block.file, "q.jsonl")


class ExpectedTest(unittest.TestCase):
    def test_takes_what_may_differ(self):
        for shown, printed in (
            ("a  b\n", "a    b\n"),
            ("margin +2.22\n", "margin +2.31\n"),
            ("65.0 % [56, 73] of 120\n", "61.7 % [53, 70] of 120\n"),
            ("58 of 96 flip\n", "61 of 96 flip\n"),
            ("cubic-59e5a7e3\n", "cubic-0123abcd\n"),
            (
                "jobs/01KBRZ8P7QX2M4N6V8W0Y2A4C6\n",
                "jobs/01KBRZ8P7QX2M4N6V8W0Y2A4C7\n",
            ),
            (
                "2026-01-31T12:00:00.000+00:00 x\n",
                "2026-02-01T13:00:00.123+00:00 x\n",
            ),
            ("a\n...\nd\n", "a\nb\nc\nd\n"),
            ("a\n...\n", "a\n"),
            ("file ... of 0.95 (...)\n", "file /tmp/x of 0.93 (y)\n"),
        ):
            with self.subTest(shown=shown):
                self.assertEqual(difference(shown, printed), "")

    def test_names_the_line_that_did_not_come(self):
        for shown, printed in (
            ("margin +2.22\n", "margin +2.92\n"),
            ("AUC 0.933\n", "AUC 0.812\n"),
            ("65.0 % of 120\n", "65.0 % of 121\n"),
            ("6 of 12 flip\n", "7 of 12 flip\n"),
            ("58 of 96 flip\n", "65 of 96 flip\n"),
            ("65.0 %\n", "45.0 %\n"),
            ("2.resid_post\n", "3.resid_post\n"),
            ("gate: pass\n", "gate: warn\n"),
            ("file ... of 0.95\n", "file /tmp/x of 0.85\n"),
            ("file ...\n", "folder /tmp/x\n"),
        ):
            with self.subTest(shown=shown):
                self.assertIn(
                    shown,
                    difference(f"a\n{shown}...\n", f"a\n{printed}b\n") + "\n",
                )

    def test_lines_may_be_left_out_only_where_it_says_so(self):
        for shown, printed in (
            ("a\nc\n", "a\nb\nc\n"),
            ("a\n", "a\nb\n"),
            ("a\n...\nc\n", "a\nb\n"),
            ("a\nb\n", "a\n"),
        ):
            with self.subTest(shown=shown):
                self.assertNotEqual(difference(shown, printed), "")


class TerminalTest(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self._terminal = Terminal(
            pathlib.Path(self._folder.name), {"PATH": "/usr/bin:/bin"}
        )
        self.addCleanup(self._terminal.close)

    def test_is_one_shell_and_a_terminal(self):
        self.assertEqual(self._terminal.run("x=1; cd /\n", 60), (0, ""))
        self.assertEqual(
            self._terminal.run("echo $x $PWD; [[ -t 1 ]]\n", 60), (0, "1 /\n")
        )

    def test_tells_status_and_errors(self):
        self.assertEqual(self._terminal.run("(exit 3)\n", 60), (3, ""))
        self._terminal.run("echo no >&2\n", 60)
        self.assertEqual(self._terminal.errors(), "no\n")

    def test_outlives_a_command_that_never_ends(self):
        with self.assertRaises(TimeoutError):
            self._terminal.run("read < <(tail -f /dev/null)\n", 0.2)


# A command in the middle of a sentence.
NAMED = re.compile(r"`(dissonanced?) ([a-z][^`]*)`")


class NamedCommandsTest(unittest.TestCase):
    def test_commands_and_options_named_in_prose_exist(self):
        named = set()
        for document in documents_of(ROOT):
            text = (ROOT / document).read_text("utf-8")
            for match in NAMED.finditer(re.sub(r"\s+", " ", text)):
                named.add((str(document), *match.groups()))
        self.assertTrue(named)
        for document, program, rest in sorted(named):
            words = rest.split()
            names = list(
                itertools.takewhile(
                    lambda word: re.fullmatch("[a-z][a-z-]*", word), words
                )
            )
            with self.subTest(document=document, command=f"{program} {rest}"):
                command = [BUILD_DIR / "bin" / program, *names, "--help"]
                asked = subprocess.run(
                    command, text=True, capture_output=True, check=False
                )
                self.assertEqual(asked.returncode, 0, asked.stderr)
                for option in re.findall(r"(?<!\S)--?[a-z-]+", rest):
                    self.assertRegex(asked.stdout, rf"(?<![\w-]){option}\b")


class PlanTest(unittest.TestCase):
    def test_every_entry_is_about_something(self):
        commands = list(all_commands())
        for entry in NOT_RUN:
            for begin in entry.begin:
                with self.subTest(document=entry.document, begin=begin):
                    self.assertTrue(
                        any(
                            entry.document == document
                            and text.startswith(begin)
                            for document, text in commands
                        )
                    )
        for entry in SHORTENED:
            with self.subTest(document=entry.document, text=entry.text):
                self.assertTrue(
                    any(
                        entry.document == document and entry.text in text
                        for document, text in commands
                    )
                )
        for document in FIRST:
            self.assertIn(document, {document for document, _ in commands})
        texts = [block.text for _, block in all_blocks()] + [*FIRST.values()]
        for entry in REWRITTEN:
            with self.subTest(text=entry.text):
                self.assertTrue(any(entry.text in text for text in texts))

    def test_what_runs_instead_exists(self):
        listed = subprocess.run(
            ["ctest", "-N"],
            cwd=BUILD_DIR,
            text=True,
            capture_output=True,
            check=True,
        ).stdout
        tests = set(re.findall(r"Test +#\d+: (\S+)", listed))
        for entry in NOT_RUN:
            if entry.instead and not entry.instead.endswith(".md"):
                with self.subTest(instead=entry.instead):
                    self.assertIn(entry.instead, tests)

    def test_what_another_document_shows_is_the_same(self):
        for document, block in all_blocks():
            if block.language != "output":
                continue
            blocks = blocks_of((ROOT / document).read_text("utf-8"))
            entry = not_run(document, command_above(blocks, block).text)
            if entry is None:
                continue
            with self.subTest(document=document, line=block.line):
                other = [
                    each.text
                    for name, each in all_blocks()
                    if name == entry.instead and each.language == "output"
                ]
                self.assertIn(
                    "", [difference(block.text, text) for text in other]
                )

    def test_every_document_with_commands_is_a_test(self):
        run = {
            document
            for document, text in all_commands()
            if not not_run(document, text)
        }
        cmake = (HERE / "CMakeLists.txt").read_text("utf-8")
        registered = set(re.findall(r"^document_test\(([^\s)]+)", cmake, re.M))
        self.assertEqual(registered, run)


if __name__ == "__main__":
    BUILD_DIR = pathlib.Path(sys.argv.pop(1))
    unittest.main()
