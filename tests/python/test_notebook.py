"""The notebook runs from top to bottom, and is kept without outputs."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, Server
from nbclient import NotebookClient

NOTEBOOKS = ROOT / "client" / "python" / "notebooks"


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem
)
def test_notebook_runs(
    path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SERVER", "TOKEN", "PROFILE"):
        monkeypatch.delenv(f"DISSONANCE_{name}", raising=False)
    monkeypatch.setenv("DISSONANCE_DATA_DIR", server.data_dir)
    notebook = nbformat.read(path, as_version=4)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in codes)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    if folder := os.environ.get("DISSONANCE_KEEP_NOTEBOOKS"):
        nbformat.write(notebook, Path(folder) / path.name)
