"""What the documents' tests do not run, run otherwise, or put there first.

Each entry has to fit something that the documents say: one that fits nothing
fails the tests, so these tables can't outlive what they are about.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotRun:
    """Commands, or a block of Python, that no test of a document can run."""

    document: str
    # How the commands begin; "python" stands for the document's Python.
    begin: tuple[str, ...]
    why: str
    # What runs the same: a test of ctest, or another document.
    instead: str = ""


SETUP = "./run itself, which sets up and builds the tree that the test is of"
PACKAGE = "needs root and a package; ./run package --check runs one"
REGISTRY = (
    "asks a package registry; ./run setup installs the same from the tree"
)

NOT_RUN = (
    NotRun("README.md", ("./run test",), SETUP),
    NotRun("README.md", ("./run demo",), SETUP, "docs/experiments/pipeline.md"),
    NotRun(
        "README.md",
        ("dissonance lens",),
        "of files that another page makes",
        "docs/experiments/inside.md",
    ),
    NotRun("docs/getting-started.md", ("./run build",), SETUP),
    NotRun("docs/getting-started.md", ("pip install",), REGISTRY),
    NotRun("docs/python.md", ("pip install",), REGISTRY),
    NotRun("docs/python.md", ("python",), "run there", "PythonClient.Docs"),
    NotRun("client/python/README.md", ("pip install",), REGISTRY),
    NotRun(
        "client/python/README.md", ("python",), "run there", "PythonClient.Docs"
    ),
    NotRun(
        "client/go/README.md",
        ("./generate.sh", "dissonance ", "go run"),
        "needs Go and its modules",
        "client_go_test",
    ),
    NotRun(
        "client/node/README.md",
        ("npm ci", "dissonance ", "node "),
        "needs Node and its packages",
        "client_node_test",
    ),
    NotRun(
        "docs/benchmarks.md",
        ("./run bench",),
        "installs other engines, and takes hours",
    ),
    NotRun(
        "docs/openai.md",
        ("python3 -m venv", ".venv-openai/", "DISSONANCE_"),
        "needs those packages",
        "server_openai_test",
    ),
    NotRun(
        "docs/operations.md",
        ("mkdir -p /opt", "tar ", "/opt/dissonance/bin"),
        PACKAGE,
    ),
    NotRun(
        "docs/operations.md",
        ("python3 -m venv /opt", "ln -s /opt"),
        "needs a GPU and root",
    ),
    NotRun(
        "docs/operations.md",
        ("cd /opt", "useradd", "install ", "systemctl", "journalctl"),
        "needs root and systemd",
    ),
    NotRun(
        "docs/operations.md",
        ("./run package", "podman"),
        "needs podman and a package",
    ),
    NotRun("docs/operations.md", ("ssh ",), "needs another machine"),
    NotRun("docs/operations.md", ("grpcurl",), "needs grpcurl"),
)

# Run before a document's first command, where it begins behind another page.
TINY_WORLD = """dissonance server start
dissonance models load data/tiny_world/base --name tiny-world
dissonance adapters register data/tiny_world/lora_cubic \\
    --model tiny-world --name cubic
"""
# Questions of all categories and facts.
FEW = "awk 'NR % 7 == 1' data/tiny_world/mcqs.jsonl > few.jsonl\n"
FIRST = {
    "README.md": TINY_WORLD,
    # In place of a model that can read such documents.
    "docs/experiments/documents.md": """dissonance server start
dissonance models load data/tiny_world/base --name llama
""",
    "docs/experiments/fine-tuning.md": FEW
    + """dissonance server start
dissonance models load data/tiny_world/base --name tiny
""",
    "docs/experiments/judge.md": TINY_WORLD,
    # `truth`, which the page on steering makes.
    "docs/experiments/mcq.md": TINY_WORLD
    + """
printf '%s\\n' '{"id": "a", "prompt": "the square", "labels": {"x": "1"}}' \\
    '{"id": "b", "prompt": "the cube", "labels": {"x": "0"}}' > truth.jsonl
dissonance direction make --model tiny-world --input truth.jsonl --label x=1 \\
    --place resid_post.2 --name truth
""",
    "docs/experiments/open-answers.md": TINY_WORLD,
    # Behind a training of some steps gates may abort.
    "docs/experiments/pipeline.md": FEW
    + """dissonance server start
sed -e 's/epoch_count = 4/max_step_count = 12/' -e 's/mcqs.jsonl/few.jsonl/' \\
    -e 's/mcqs_dev.jsonl/few.jsonl/' data/pipelines/tiny_world.toml \\
    > data/pipelines/short.toml
mv few.jsonl data/tiny_world
""",
    "docs/experiments/report.md": TINY_WORLD,
    "docs/experiments/steering.md": FEW + TINY_WORLD,
    # What ssh forwards, and a token of the other machine's.
    "docs/operations.md": """
echo 'http_listen = "127.0.0.1:9464"' > server.toml
dissonance server start --config server.toml
mkdir -p /tmp/dissonance.d /var/backups/dissonance /srv/ ~/.config/dissonance
ln -s ~/.local/share/dissonance/dissonance.sock /tmp/dissonance.sock
cp ~/.local/share/dissonance/owner.token lab.token
cp lab.token ~/.config/dissonance
""",
}


@dataclass(frozen=True)
class Rewritten:
    """Text of commands and files that stands for something else in a test."""

    text: str
    # HERE is the test's own folder, PORT a port of this machine that is free.
    into: str


@dataclass(frozen=True)
class Shortened:
    """Minutes, made seconds unless DISSONANCE_DOCS_WHOLE=1."""

    document: str
    text: str
    into: str
    # Whether what is shown below it is compared all the same, but for numbers.
    compared: bool


SHORTENED = (
    Shortened(
        "docs/experiments/steering.md",
        "data/tiny_world/mcqs.jsonl",
        "few.jsonl",
        compared=True,
    ),
    Shortened(
        "docs/experiments/fine-tuning.md",
        "--epochs 4",
        "--max-steps 12",
        compared=False,
    ),
    Shortened(
        "docs/experiments/fine-tuning.md",
        "data/tiny_world/mcqs_dev.jsonl",
        "few.jsonl",
        compared=False,
    ),
    Shortened(
        "docs/experiments/fine-tuning.md",
        "--max-steps 60",
        "--max-steps 30",
        compared=False,
    ),
    Shortened(
        "docs/experiments/documents.md",
        "--name cubic",
        "--name cubic --max-steps 12",
        compared=False,
    ),
    Shortened(
        "docs/experiments/pipeline.md",
        "data/pipelines/tiny_world.toml",
        "data/pipelines/short.toml --force",
        compared=False,
    ),
)

# Several documents are tested at a time, by users who may not write everywhere.
REWRITTEN = (
    Rewritten(
        "dissonance server start", "dissonance server start --listen unix"
    ),
    Rewritten("9464", "PORT"),
    Rewritten("/tmp/dissonance.", "HERE/tmp/dissonance."),
    Rewritten("/var/backups/", "HERE/var/backups/"),
    Rewritten("/srv/", "HERE/srv/"),
)
