"""Every snippet of the documentation runs, in its order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Server

PAGES = ["docs/python.md", "client/python/README.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


@pytest.mark.parametrize("page", PAGES)
def test_snippets_run(
    page: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SERVER", "TOKEN", "PROFILE"):
        monkeypatch.delenv(f"DISSONANCE_{name}", raising=False)
    monkeypatch.setenv("DISSONANCE_DATA_DIR", server.data_dir)
    monkeypatch.chdir(ROOT)
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert blocks
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        code = "\n" * line + block.group(1)
        exec(compile(code, str(Path(page)), "exec"), names)
