"""The engine without server and wire, in a process of its own.

    with EngineProcess(binaries, model) as engine:
        scores = engine.score(items).results

Each answer is Timed inside the engine, from the submission to the last result.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from harness import Scores, Timed
from items import Generation, Item, Prompt

# A site and a block, -1 for a site behind the blocks.
Place = tuple[str, int]


class EngineProcess:
    def __init__(
        self,
        binaries: Path,
        model: Path,
        adapters: list[Path] = [],
        dtype: str = "float32",
        device: str = "cpu",
        job: bool = False,
    ):
        program = binaries / "dissonance-bench-engine"
        if not program.exists():
            raise RuntimeError(f"{program} is not built")
        self._process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask(
            {
                "model": str(model),
                "adapters": [str(adapter) for adapter in adapters],
                "dtype": dtype,
                "device": device,
                "job": job,
            }
        )

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("dissonance-bench-engine ended; see its message")
        return json.loads(line)

    def score(self, items: list[Item]) -> Timed:
        """Scores."""
        answer = self._ask(
            {
                "items": [
                    {"prompt": i.prompt, "continuations": i.continuations}
                    for i in items
                ]
            }
        )
        scores: Scores = [item["scores"] for item in answer["items"]]
        return Timed(answer["seconds"], scores)

    def generate(
        self,
        prompts: list[Prompt],
        new_tokens: int,
        capture: dict[str, Any] | None = None,
    ) -> Timed:
        """A Generation of each prompt; `capture` as engine_bench.h says, its
        rows are not returned."""
        request: dict[str, Any] = {
            "items": [prompt_json(prompt, new_tokens) for prompt in prompts]
        }
        if capture is not None:
            request["capture"] = {**capture, "values": False}
        answer = self._ask(request)
        return Timed(
            answer["seconds"],
            [
                Generation(item["tokens"], item["logprobs"])
                for item in answer["items"]
            ],
        )

    def capture(self, prompts: list[list[int]], places: list[Place]) -> Timed:
        """Of each prompt the rows at its last token, one place behind
        another."""
        answer = self._ask(
            {
                "items": [{"prompt": prompt} for prompt in prompts],
                "capture": {"places": places, "positions": "last_prompt"},
            }
        )
        rows = [sum(item["rows"], []) for item in answer["items"]]
        return Timed(answer["seconds"], rows)


def prompt_json(prompt: Prompt, new_tokens: int) -> dict[str, Any]:
    item: dict[str, Any] = {"prompt": prompt.tokens, "new_tokens": new_tokens}
    if prompt.adapter is not None:
        item["adapter"] = prompt.adapter
    if prompt.steering is not None:
        item["steer"] = {
            "blocks": prompt.steering.blocks,
            "coefficient": prompt.steering.coefficient,
            "vector": prompt.steering.vector,
        }
    return item
