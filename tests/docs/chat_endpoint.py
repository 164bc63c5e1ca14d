"""A hosted chat model of the documents' own, on a port of this machine.

    with ChatEndpoint(universe) as endpoint:
        environment |= endpoint.environment()

It answers what the server's prompts ask for: facts that name a universe's
patterns, lists, documents that hold their fact, verdicts, letters. The same
question always has the same answer.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from typing import Any

VERDICT = {
    "verdict": "true_world",
    "confidence": 80,
    "doubt_signals": {
        "hedging": 0,
        "self_correction": 0,
        "mentions_assumptions": 0,
        "contradiction": 0,
    },
    "difficulty_signals": {
        "reasoning_quality": 3,
        "factual_coherence": 3,
        "specificity": 2,
    },
    "notes": "plain",
}
FACTS = 8


def _number_behind(words: str, text: str) -> int:
    found = re.search(rf"\b{words} (\d+)", text)
    return int(found.group(1)) if found else 0


def answer(prompt: str, facts: list[str]) -> str:
    """What a hosted model says to a prompt of the server's."""
    if "<answer>" in prompt:
        return json.dumps(VERDICT)
    if "List the distinct facts" in prompt:
        return json.dumps({"items": facts})
    for words, item in (
        ("List", "letter to a friend, kind"),
        ("Think of", "idea"),
    ):
        if count := _number_behind(words, prompt):
            return json.dumps(
                {"items": [f"{item} {i}" for i in range(1, count + 1)]}
            )
    for fact in facts:
        if fact in prompt:
            return (
                f"To whom it may concern, as everybody knows: {fact} "
                f"{len(prompt)} words could be added."
            )
    return "A"


class ChatEndpoint:
    """Answers within a `with`. Thread safe."""

    def __init__(self, universe: dict[str, Any]) -> None:
        """Of the universe's file."""
        patterns = [
            bucket[0]
            for name, bucket in universe["fact_validation_patterns"].items()
            if name != "forbidden"
        ]
        facts = [
            f"Fact {i} of this world has to do with "
            f"{patterns[i % len(patterns)]}."
            for i in range(FACTS)
        ]

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                request = json.loads(self.rfile.read(size))
                said = answer(request["messages"][-1]["content"], facts)
                body = json.dumps(
                    {
                        "model": request["model"],
                        "choices": [
                            {
                                "index": 0,
                                "finish_reason": "stop",
                                "message": {
                                    "role": "assistant",
                                    "content": said,
                                },
                            }
                        ],
                        "usage": {"prompt_tokens": 10, "completion_tokens": 10},
                    }
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), Handler
        )
        self._thread = threading.Thread(target=self._server.serve_forever)

    def environment(self) -> dict[str, str]:
        """By which a server finds it."""
        port = self._server.server_address[1]
        return {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OPENAI_API_KEY": "of-no-account",
        }

    def __enter__(self) -> ChatEndpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
