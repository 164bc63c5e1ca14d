"""What is built holds what it should, and imports without what is optional."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "client" / "python"
API = {path.stem for path in (ROOT / "proto" / "dissonance" / "v1").glob("*.proto")}


def build(kind: str, source: Path, folder: Path) -> Path:
    """A wheel or an sdist of a folder, by setuptools' own hooks."""
    script = (
        "from setuptools import build_meta as backend\n"
        f"print(backend.build_{kind}({str(folder)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, unpacked where there is no repository around it."""
    folder = tmp_path_factory.mktemp("dist")
    archive = build("sdist", PACKAGE, folder)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def test_source_distribution_carries_the_protos(sources: Path) -> None:
    protos = (sources / "proto" / "dissonance" / "v1").glob("*.proto")
    assert {path.stem for path in protos} == API


def test_wheel_of_it_has_types_and_generated_code(
    sources: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(build("wheel", sources, tmp_path)) as wheel:
        names = set(wheel.namelist())
    assert "dissonance/py.typed" in names
    for stem in API:
        for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
            assert f"dissonance/v1/{stem}{end}" in names
    own = PACKAGE / "src" / "dissonance"
    for path in own.rglob("*.py"):
        assert f"dissonance/{path.relative_to(own)}" in names


def test_imports_without_optional_packages() -> None:
    script = (
        "import sys\n"
        "for name in ('pandas', 'tqdm', 'safetensors', 'torch', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import dissonance\n"
        "from dissonance.results import Scores\n"
        "try:\n"
        "    Scores([]).frame()\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "frames need pandas: pip install pandas" in done.stdout
