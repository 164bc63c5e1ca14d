"""An example client against a server of its own, beside the command line.

    python3 example_client_test.py BIN_DIR NEEDED -- COMMAND...

BIN_DIR has the server's programs, COMMAND runs the example. Without the file
NEEDED, which ./run test makes where the language is installed, it is skipped.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DATA = SOURCE / "data/tiny_world"
# What ctest takes for a skipped test.
SKIPPED = 77
TIMEOUT_S = 240


class ExampleClientTest(unittest.TestCase):
    """One server and one run of the example for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="dissonance-client.")
        cls.addClassCleanup(cls.folder.cleanup)
        path = pathlib.Path(cls.folder.name)
        # The command line and the example find this server and no other.
        cls.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith(("DISSONANCE_", "XDG_"))
        } | {"DISSONANCE_DATA_DIR": str(path / "data"),
             "XDG_CONFIG_HOME": str(path / "config")}
        cls.questions = path / "questions.jsonl"
        lines = (DATA / "mcqs.jsonl").read_text("utf-8").splitlines(True)
        cls.questions.write_text("".join(lines[::8]), "utf-8")
        cls.first = json.loads(lines[0])
        cls.dissonance("server", "start", "--listen", "unix")
        cls.addClassCleanup(cls.dissonance, "server", "stop")
        cls.dissonance("models", "load", str(DATA / "base"),
                       "--name", "tiny-world")
        cls.dissonance("adapters", "register", str(DATA / "lora_cubic"),
                       "--model", "tiny-world", "--name", "cubic")
        example = cls.run_example("--data", str(cls.questions))
        if example.returncode != 0:
            raise AssertionError(f"the example failed: {example.stderr}")
        cls.printed = example.stdout

    @classmethod
    def run_program(cls, *command):
        return subprocess.run(
            command, env=cls.environment, text=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False)

    @classmethod
    def run_example(cls, *arguments):
        return cls.run_program(*COMMAND, *arguments)

    @classmethod
    def dissonance(cls, *arguments):
        result = cls.run_program(str(BIN_DIR / "dissonance"), *arguments)
        if result.returncode != 0:
            raise AssertionError(f"dissonance {arguments}: {result.stderr}")
        return result.stdout

    def chat_file(self):
        path = pathlib.Path(self.folder.name) / "chat.json"
        path.write_text(json.dumps(
            [{"role": "user", "content": self.first["question"]}]), "utf-8")
        return str(path)

    def test_lists_the_model(self):
        self.assertIn("models/tiny-world  LlamaForCausalLM", self.printed)

    def test_scores_as_the_command_line_does(self):
        rows = pathlib.Path(self.folder.name) / "rows.jsonl"
        answers = [" " + self.first["options"][self.first[key]]
                   for key in ("correct_answer", "false_answer")]
        rows.write_text(json.dumps({
            "id": "first", "continuations": answers,
            "chat": [{"role": "user", "content": self.first["question"]}],
        }) + "\n", "utf-8")
        for name, adapter in (("base   ", []),
                              ("adapter", ["--adapter", "cubic"])):
            scored = json.loads(self.dissonance(
                "score", "--model", "tiny-world", *adapter, "--input",
                str(rows), "-o", "jsonl"))
            line = "".join(f'  "{c["text"]}" {c["logprob"]:.3f}'
                           for c in scored["continuations"])
            self.assertIn(f"  {name}{line}\n", self.printed)

    def test_streams_the_text_that_the_command_line_generates(self):
        generated = json.loads(self.dissonance(
            "generate", "--model", "tiny-world", "--adapter", "cubic",
            "--chat", self.chat_file(), "--max-new-tokens", "24",
            "-o", "json"))
        self.assertIn(
            f"the adapter answers: {generated['samples'][0]['text']}\n",
            self.printed)

    def test_finds_the_rates_that_the_command_line_finds(self):
        out = pathlib.Path(self.folder.name) / "evaluated"
        self.dissonance("eval", "mcq", "--model", "tiny-world", "--adapter",
                        "cubic", "--data", str(self.questions), "--scoring",
                        "option_text", "--out", str(out))
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
        result = self.run_example("--data", str(self.questions),
                                  "--adapter", "absent")
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
