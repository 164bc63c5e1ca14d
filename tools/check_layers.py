#!/usr/bin/env python3
"""Checks what the compiler can't see: who may include whom, and house rules.

Usage: tools/check_layers.py [--root DIR]

Prints one line a finding, "file:line: what; what to do", and exits 1 if there
are any. Reads the files that git knows or would add.
"""

import argparse
import pathlib
import re
import subprocess
import sys

_COMPUTE = "src/compute/"
_LAB = "src/lab/"

# Folder -> folders of this tree that its sources may include, besides itself.
# Dependencies point down only. A folder that isn't here is a finding, so a new
# one gets its place in the order before it gets sources.
LAYERS = {
    "src/base": [],
    "src/compute/tensor": ["src/base"],
    "src/compute/text": ["src/base"],
    "src/compute/model": ["src/base", _COMPUTE + "tensor", _COMPUTE + "text"],
    "src/compute/lora": ["src/base", _COMPUTE + "tensor", _COMPUTE + "model"],
    "src/compute/interp": [
        "src/base", _COMPUTE + "tensor", _COMPUTE + "model", _COMPUTE + "lora"
    ],
    "src/compute/probe": ["src/base", _COMPUTE + "tensor", _COMPUTE + "model"],
    "src/compute/engine": [
        "src/base", _COMPUTE + "tensor", _COMPUTE + "text", _COMPUTE + "model",
        _COMPUTE + "lora", _COMPUTE + "interp"
    ],
    "src/compute/train": [
        "src/base", _COMPUTE + "tensor", _COMPUTE + "text", _COMPUTE + "model",
        _COMPUTE + "lora", _COMPUTE + "interp", _COMPUTE + "engine"
    ],
    "src/lab/tensors": ["src/base", "proto"],
    "src/lab/files": ["src/base", "proto"],
    "src/lab/storage": ["src/base", "proto"],
    "src/lab/artifacts": ["src/base", "proto", _LAB + "storage"],
    "src/lab/directions": [
        "src/base", "proto", _LAB + "storage", _LAB + "artifacts",
        _LAB + "tensors"
    ],
    "src/lab/backup": ["src/base", "proto", _LAB + "storage"],
    "src/lab/jobs": [
        "src/base", "proto", _LAB + "files", _LAB + "storage",
        _LAB + "artifacts"
    ],
    "src/lab/llm": ["src/base", "proto", _LAB + "jobs"],
    "src/lab/docgen": [
        "src/base", "proto", _LAB + "files", _LAB + "jobs", _LAB + "llm"
    ],
    "src/lab/eval": [
        "src/base", "proto", _LAB + "files", _LAB + "tensors", _LAB + "jobs"
    ],
    "src/lab/hosted": [
        "src/base", "proto", _LAB + "files", _LAB + "jobs", _LAB + "llm",
        _LAB + "eval"
    ],
    "src/lab/finetune": [
        "src/base", "proto", _LAB + "files", _LAB + "jobs", _LAB + "eval"
    ],
    "src/lab/interp": [
        "src/base", "proto", _LAB + "files", _LAB + "tensors", _LAB + "jobs",
        _LAB + "eval"
    ],
    "src/lab/answers": [
        "src/base", "proto", _LAB + "files", _LAB + "tensors", _LAB + "jobs",
        _LAB + "eval", _LAB + "interp"
    ],
    "src/lab/judge": [
        "src/base", "proto", _LAB + "files", _LAB + "jobs", _LAB + "llm",
        _LAB + "docgen", _LAB + "answers", _LAB + "interp"
    ],
    "src/lab/report": ["src/base", "proto", _LAB + "files", _LAB + "jobs"],
    "src/lab/pipeline": [
        "src/base", "proto", _LAB + "files", _LAB + "tensors", _LAB + "jobs",
        _LAB + "report"
    ],
    "server/link": ["src/base"],
    "server/worker": ["src/base", "proto", "src/compute", "server/link"],
    "server/control": ["src/base", "proto", "src/lab", "server/link"],
    "client/cli": ["src/base", "proto"],
}

# Single headers that a folder may include beyond its row in LAYERS.
EXCEPTIONS = {
    # Rows and questions are checked before they are sent, and prediction files
    # are compared, without a server; so are files of vectors, documents and
    # judgements. Reports are made of files that were fetched.
    "client/cli": [
        _LAB + "docgen/document_check.h", _LAB + "docgen/document_files.h",
        _LAB + "docgen/document_set.h", _LAB + "docgen/document_statistics.h",
        _LAB + "docgen/universe.h",
        _LAB + "eval/input_rows.h",
        _LAB + "eval/mcq_compare.h", _LAB + "eval/mcq_data.h",
        _LAB + "eval/mcq_files.h", _LAB + "eval/mcq_prediction.h",
        _LAB + "eval/mcq_prompt.h", _LAB + "judge/judge_rows.h",
        _LAB + "judge/judge_summary.h", _LAB + "judge/judgement.h",
        _LAB + "report/report.h", _LAB + "report/report_stage.h",
        _LAB + "tensors/direction_file.h",
        _LAB + "tensors/place_name.h", _LAB + "tensors/place_words.h",
        _LAB + "tensors/safetensors_reader.h",
        _LAB + "tensors/safetensors_writer.h"
    ],
}

# Folders whose sources may include anything of this tree.
FREE = ["tests", "bench"]

# Headers from elsewhere -> the only folders that may include them, and why.
ONLY_IN = [
    (re.compile(r"(ATen|c10|caffe2|torch)/"),
     ["src/compute", "server/worker", "tests/compute", "tests/server/worker",
      "tests/testing", "bench"],
     "libtorch belongs to the compute process"),
    (re.compile(r"(SQLiteCpp/|sqlite3\.h)"),
     ["src/lab/storage", "tests/lab", "tests/server"],
     "SQL belongs to src/lab/storage"),
]

# Headers from elsewhere that the named folders must do without, and why.
NOT_IN = [
    (re.compile(r"(grpc|grpcpp|google/protobuf)/|.*\.pb\.h$"),
     ["src/base", "src/compute"],
     "the compute code knows nothing of gRPC and protobuf"),
]

HEAVY = re.compile(r"(torch/(torch|all|extension)\.h|ATen/ATen\.h)$")

SOURCE_SUFFIXES = {".cc", ".cu", ".rs", ".py", ".sh"}
SOURCE_LIMIT = 500
HEADER_LIMIT = 150

# Fixtures and data are taken as they are; this file names what it looks for.
UNREAD = ("tests/goldens/", "data/", "tools/check_layers")
TEXT_SUFFIXES = SOURCE_SUFFIXES | {
    ".h", ".cmake", ".txt", ".md", ".json", ".toml", ".proto", ".yaml", ""
}
WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}/~-])/(work|farm|root|home|Users)/\w")

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def _under(path, folders):
    """Whether `path` lies in one of `folders`."""
    return any(path == f or path.startswith(f + "/") for f in folders)


def _layer_of(path):
    """The row of LAYERS that holds `path`; None if there is none."""
    folder = path.rpartition("/")[0]
    while folder and folder not in LAYERS:
        folder = folder.rpartition("/")[0]
    return folder or None


class Checker:
    """Collects the findings of one tree."""

    def __init__(self, root, files):
        self._root = root
        self._files = files
        self._names = set(files)
        self.findings = []

    def run(self):
        for path in self._files:
            if path.startswith(UNREAD):
                continue
            if pathlib.PurePath(path).suffix not in TEXT_SUFFIXES:
                continue
            try:
                text = (self._root / path).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                self._find(path, 1, "not UTF-8; save it as UTF-8")
                continue
            self._check_text(path, text.split("\n"))
            if path.endswith((".cc", ".h", ".cu")):
                self._check_includes(path, text.split("\n"))
        return self.findings

    def _find(self, path, line, what):
        self.findings.append(f"{path}:{line}: {what}")

    def _check_text(self, path, lines):
        limit = None
        if path.endswith(".h"):
            limit = HEADER_LIMIT
        elif path.endswith(tuple(SOURCE_SUFFIXES)):
            limit = SOURCE_LIMIT
        count = len(lines) - (lines[-1] == "")
        if limit and count > limit:
            self._find(path, limit + 1,
                       f"{count} lines, at most {limit}; split what is a "
                       "second idea into a file of its own")
        for number, line in enumerate(lines, 1):
            if match := WORDS.search(line):
                self._find(path, number,
                           f"'{match[1]}'; do it, or say why it is as it is")
            if match := MACHINE_PATH.search(line):
                self._find(path, number,
                           f"path of one machine '{match[0]}...'; make it "
                           "relative or a setting")

    def _check_includes(self, path, lines):
        layer = _layer_of(path)
        free = _under(path, FREE)
        if layer is None and not free:
            self._find(path, 1, "folder without a layer; give it a row in "
                       "LAYERS of tools/check_layers.py")
            return
        for number, line in enumerate(lines, 1):
            if match := _INCLUDE.match(line):
                self._check_include(path, number, match[2],
                                    None if free else layer)

    def _check_include(self, path, line, header, layer):
        if HEAVY.match(header):
            self._find(path, line, f"<{header}> takes 10 s and more to "
                       "compile; include ATen/core/Tensor.h and the "
                       "per-operator headers ATen/ops/...")
        for pattern, folders, why in ONLY_IN:
            if pattern.match(header) and not _under(path, folders):
                self._find(path, line, f"<{header}> here: {why}")
        for pattern, folders, why in NOT_IN:
            if pattern.match(header) and _under(path, folders):
                self._find(path, line, f"<{header}> here: {why}")
        sibling = f"{path.rpartition('/')[0]}/{header}"
        if header.startswith(".") or ("/" not in header and
                                      sibling in self._names):
            self._find(path, line, f'"{header}": write the path from the '
                       "tree's root")
        if layer is not None:
            self._check_layer(path, line, header, layer)

    def _check_layer(self, path, line, header, layer):
        if header.startswith("dissonance/"):
            target = "proto"
        elif header.startswith(("src/", "server/", "client/", "tests/",
                                "bench/")):
            target = header
        else:
            return
        allowed = [layer] + LAYERS[layer]
        if target == "proto" and _under(path, ["src/base", "src/compute"]):
            return  # NOT_IN said it already.
        if _under(target, allowed) or target in EXCEPTIONS.get(layer, []):
            return
        self._find(path, line,
                   f'"{header}": {layer} may include only '
                   f"{', '.join(LAYERS[layer]) or 'itself'}; move what is "
                   "needed down, or pass it in")


def tree_files(root):
    """Files that git tracks or would add, sorted."""
    out = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        check=True, capture_output=True).stdout.decode()
    return sorted({f for f in out.split("\0") if f and (root / f).is_file()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root
    files = tree_files(root)
    findings = Checker(root, files).run()
    for finding in findings:
        print(finding)
    if findings:
        print(f"error: {len(findings)} findings, the first: {findings[0]}")
        return 1
    print(f"{len(files)} files, no findings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
