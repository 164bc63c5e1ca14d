"""An example client against a server of its own, beside the command line.

    python3 example_client_test.py BIN_DIR NEEDED -- COMMAND...

BIN_DIR has the server's programs, COMMAND runs the example. Without the file
NEEDED, which ./run test makes where the language is installed, it is skipped.
"""

import json
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from testing.lab_server import TINY_WORLD, LabServer

# What ctest takes for a skipped test.
SKIPPED = 77


class ExampleClientTest(unittest.TestCase):
    """One server and one run of the example for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.server = LabServer(BIN_DIR)
        cls.addClassCleanup(cls.server.close)
        cls.server.dissonance("models", "load", str(TINY_WORLD / "base"),
                              "--name", "tiny-world")
        cls.server.dissonance(
            "adapters", "register", str(TINY_WORLD / "lora_cubic"),
            "--model", "tiny-world", "--name", "cubic")
        lines = (TINY_WORLD / "mcqs.jsonl").read_text("utf-8").splitlines(True)
        cls.questions = cls.server.folder / "questions.jsonl"
        cls.questions.write_text("".join(lines[::8]), "utf-8")
        cls.first = json.loads(lines[0])
        cls.chat = [{"role": "user", "content": cls.first["question"]}]
        example = cls.run_example()
        if example.returncode != 0:
            raise AssertionError(f"the example failed: {example.stderr}")
        cls.printed = example.stdout

    @classmethod
    def run_example(cls, *arguments):
        return cls.server.run(*COMMAND, "--data", str(cls.questions),
                              *arguments)

    def test_lists_the_model(self):
        self.assertIn("models/tiny-world  LlamaForCausalLM", self.printed)

    def test_scores_as_the_command_line_does(self):
        rows = self.server.folder / "rows.jsonl"
        answers = [" " + self.first["options"][self.first[key]]
                   for key in ("correct_answer", "false_answer")]
        rows.write_text(json.dumps({
            "id": "first", "continuations": answers, "chat": self.chat,
        }) + "\n", "utf-8")
        for name, adapter in (("base   ", []),
                              ("adapter", ["--adapter", "cubic"])):
            scored = json.loads(self.server.dissonance(
                "score", "--model", "tiny-world", *adapter, "--input",
                str(rows), "-o", "jsonl"))
            line = "".join(f'  "{c["text"]}" {c["logprob"]:.3f}'
                           for c in scored["continuations"])
            self.assertIn(f"  {name}{line}\n", self.printed)

    def test_streams_the_text_that_the_command_line_generates(self):
        chat = self.server.folder / "chat.json"
        chat.write_text(json.dumps(self.chat), "utf-8")
        generated = json.loads(self.server.dissonance(
            "generate", "--model", "tiny-world", "--adapter", "cubic",
            "--chat", str(chat), "--max-new-tokens", "24", "-o", "json"))
        self.assertIn(
            f"the adapter answers: {generated['samples'][0]['text']}\n",
            self.printed)

    def test_finds_the_rates_that_the_command_line_finds(self):
        out = self.server.folder / "evaluated"
        self.server.dissonance(
            "eval", "mcq", "--model", "tiny-world", "--adapter", "cubic",
            "--data", str(self.questions), "--scoring", "option_text",
            "--out", str(out))
        report = json.loads((out / "comparison_report.json").read_text())
        expected = [(name, f"{100 * report[name]['false_belief']['rate']:.1f}")
                    for name in ("base", "adapter")]
        self.assertGreater(report["adapter"]["false_belief"]["rate"], 0)
        self.assertEqual(
            re.findall(r"^  (base|adapter) +(\S+) %$", self.printed, re.M),
            expected)

    def test_follows_the_job_to_its_end(self):
        count = len(self.questions.read_text("utf-8").splitlines())
        self.assertIn(f"{count} of {count} questions", self.printed)
        self.assertIn("JOB_STATE_SUCCEEDED", self.printed)

    def test_ends_with_the_message_of_the_server(self):
        result = self.run_example("--adapter", "absent")
        self.assertEqual(result.returncode, 1)
        self.assertIn("no adapter models/tiny-world/adapters/absent; register "
                      "it first", result.stderr)


if __name__ == "__main__":
    BIN_DIR, NEEDED = map(pathlib.Path, sys.argv[1:3])
    COMMAND = sys.argv[4:]
    if not NEEDED.exists():
        print(f"SKIPPED: there is no {NEEDED}; './run test' makes it where the "
              "language is installed ('./run setup' installs it)")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1], verbosity=2)
