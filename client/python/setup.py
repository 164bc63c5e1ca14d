"""Makes dissonance/v1/*_pb2* from the public API's protos while building.

In the repository the protos are in ../../proto; in a source distribution they
are beside this file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
API = Path("dissonance") / "v1"


def proto_root() -> Path:
    """The folder that holds dissonance/v1/*.proto."""
    for root in (HERE / "proto", HERE.parent.parent / "proto"):
        if (root / API).is_dir():
            return root
    raise SystemExit(
        f"no protos: neither {HERE / 'proto'} nor {HERE.parent.parent / 'proto'} "
        "has dissonance/v1; build in a clone of the repository or from a source "
        "distribution"
    )


def generate() -> None:
    """Runs protoc over the public API."""
    from grpc_tools import _proto, protoc

    root = proto_root()
    for old in (SOURCES / API).glob("*_pb2*"):
        old.unlink()
    files = sorted(str(path) for path in (root / API).glob("*.proto"))
    includes = Path(next(iter(_proto.__path__)))
    arguments = ["protoc", f"-I{root}", f"-I{includes}"]
    for kind in ("python", "pyi", "grpc_python"):
        arguments.append(f"--{kind}_out={SOURCES}")
    if protoc.main([*arguments, *files]) != 0:
        raise SystemExit("protoc failed; its messages are above")


class BuildPy(build_py):
    """build_py, with the generated code made first."""

    def run(self) -> None:
        """See setuptools."""
        generate()
        super().run()


class Sdist(sdist):
    """sdist, with the protos beside setup.py."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """See setuptools."""
        super().make_release_tree(base_dir, files)
        shutil.copytree(
            proto_root() / API, Path(base_dir) / "proto" / API, dirs_exist_ok=True
        )


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
