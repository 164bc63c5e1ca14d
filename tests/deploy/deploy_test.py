"""What is in deploy/ fits the server: every figure that alerts and dashboard name
is one of /metrics, and Prometheus takes their expressions.

    python3 deploy_test.py BIN_DIR
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from testing.lab_server import SOURCE, LabServer

ALERTS = SOURCE / "deploy/prometheus/alerts.yml"
DASHBOARD = SOURCE / "deploy/grafana/dissonance.json"
OPERATIONS = SOURCE / "docs/operations.md"
FIGURE = re.compile(r"\bdissonance_[a-z_]+\b")
PORT = re.compile(r"/metrics.* port=(\d+)")
HTTP_TIMEOUT_S = 30


def figures_in(text):
    return set(FIGURE.findall(text))


def expressions():
    """The dashboard's, as Grafana sends them."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [target["expr"].replace("$__rate_interval", "5m")
            .replace("$instance", ".*")
            for panel in panels for target in panel["targets"]]


class FiguresTest(unittest.TestCase):
    """Against the figures of a server that runs."""

    @classmethod
    def setUpClass(cls):
        server = LabServer(BIN_DIR, 'http_listen = "127.0.0.1:0"\n'
                                    "[worker]\nheartbeat_seconds = 0.1\n")
        cls.addClassCleanup(server.close)
        port = PORT.search(server.log()).group(1)
        text = ""
        # The worker's come with its first heartbeat.
        while "dissonance_engine_steps_total" not in text:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics",
                                        timeout=HTTP_TIMEOUT_S) as page:
                text = page.read().decode()
        cls.figures = set(re.findall(r"^# TYPE (\S+)", text, re.M))
        cls.counters = set(re.findall(r"^# TYPE (\S+) counter", text, re.M))
        cls.states = set(re.findall(r'^dissonance_jobs{state="(\w+)"}', text,
                                    re.M))

    def test_every_figure_of_the_alerts_is_served(self):
        named = figures_in(ALERTS.read_text("utf-8"))
        self.assertGreater(len(named), 5)
        self.assertEqual(named - self.figures, set())

    def test_every_figure_of_the_dashboard_is_served(self):
        named = figures_in(" ".join(expressions()))
        self.assertGreater(len(named), 20)
        self.assertEqual(named - self.figures, set())

    def test_every_figure_served_is_documented_and_on_the_dashboard(self):
        self.assertEqual(
            self.figures - figures_in(OPERATIONS.read_text("utf-8")), set())
        self.assertEqual(
            self.figures - figures_in(" ".join(expressions())), set())

    def test_rates_are_taken_of_counters_and_of_nothing_else(self):
        text = " ".join([ALERTS.read_text("utf-8"), *expressions()])
        for function, figure in re.findall(
                r"(?:(\w+)\()?\b(dissonance_[a-z_]+)", text):
            self.assertEqual(function in ("rate", "resets"),
                             figure in self.counters, figure)

    def test_states_that_the_alerts_name_are_states_of_jobs(self):
        named = set(re.findall(r'state="(\w+)"', ALERTS.read_text("utf-8")))
        self.assertEqual(named - self.states, set())


class ContainerTest(unittest.TestCase):
    """What of the container's file can be checked without an image."""

    def test_it_has_the_libtorch_that_the_package_is_linked_with(self):
        setup = (SOURCE / "tools/run/setup.sh").read_text("utf-8")
        version = re.search(r"TORCH_VERSION=(\S+)", setup).group(1)
        self.assertIn(f"ARG TORCH_VERSION={version}\n",
                      (SOURCE / "deploy/Containerfile").read_text("utf-8"))
        self.assertIn(f"torch=={version}\n", OPERATIONS.read_text("utf-8"))


@unittest.skipUnless(shutil.which("promtool"),
                     "NOT RUN: needs promtool (package prometheus)")
class PromtoolTest(unittest.TestCase):
    """Prometheus's own opinion of the expressions."""

    def promtool(self, *arguments):
        result = subprocess.run(["promtool", *arguments], text=True,
                                capture_output=True, timeout=HTTP_TIMEOUT_S,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_the_alerts_are_valid(self):
        self.promtool("check", "rules", str(ALERTS))
        self.promtool("check", "config",
                      str(SOURCE / "deploy/prometheus/scrape.yml"))

    def test_alerts_are_raised_when_they_should_be(self):
        self.promtool("test", "rules",
                      str(SOURCE / "tests/deploy/alerts_test.yml"))

    def test_the_expressions_of_the_dashboard_are_valid(self):
        rules = [{"alert": "Panel", "expr": e} for e in set(expressions())]
        # JSON is YAML.
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "g", "rules": rules}]}, file)
            file.flush()
            self.promtool("check", "rules", "--lint=none", file.name)


if __name__ == "__main__":
    BIN_DIR = pathlib.Path(sys.argv[1])
    unittest.main(argv=sys.argv[:1], verbosity=2)
