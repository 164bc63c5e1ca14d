"""Prompts: text, chats, token ids, or rows of a file.

A prompt is a text, a list of token ids, a chat [{"role", "content"}, ...], or a row
{"id", "prompt" | "chat" | "tokens", "labels", "group"} as the command line's files
have them. Where prompts are asked for, give one, a list of them, or a pathlib.Path of
a JSON lines file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from .errors import InvalidArgument
from .v1 import common_pb2 as pb
from .v1 import inference_pb2

Row = Mapping[str, Any]
Prompt = str | Sequence[int] | Sequence[Mapping[str, str]] | Row
Prompts = Prompt | Sequence[Prompt] | os.PathLike[str]
Continuation = str | Sequence[int]

_CONTENT = ("prompt", "chat", "tokens")


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; blank lines are left out.

    Raises InvalidArgument with file and line where one is not JSON.
    """
    rows = []
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise InvalidArgument(f"{path}:{number}: {error}") from None
    return rows


def inputs_of(prompts: Prompts) -> list[pb.Input]:
    """The inputs of a request; those without an id get their number, from 1."""
    inputs = [_input(each, f"prompts[{i}]") for i, each in enumerate(rows_of(prompts))]
    for number, each in enumerate(inputs, 1):
        each.id = each.id or str(number)
    return inputs


def rows_of(prompts: Prompts) -> list[Prompt]:
    """One prompt or several as a list."""
    if isinstance(prompts, os.PathLike):
        return list(read_rows(prompts))
    if isinstance(prompts, str) and prompts.endswith(".jsonl"):
        raise InvalidArgument(
            f'prompts: "{prompts}" would be read as a text; of a file give '
            f"pathlib.Path({prompts!r}), of such a text [{prompts!r}]"
        )
    if _is_prompt(prompts):
        return [cast(Prompt, prompts)]
    found = list(cast(Sequence[Prompt], prompts))
    if not found:
        raise InvalidArgument("prompts: there is none")
    return found


def items_of(
    prompts: Prompts, continuations: Sequence[Continuation] | None
) -> list[inference_pb2.ScoreItem]:
    """Prompts with what is to follow each; None: each row's own continuations."""
    items = []
    rows = rows_of(prompts)
    for number, (row, prompt) in enumerate(zip(rows, inputs_of(rows), strict=True)):
        own = continuations
        if own is None and isinstance(row, Mapping):
            own = row.get("continuations")
        if own is None or isinstance(own, str) or not len(own):
            raise InvalidArgument(
                f"prompts[{number}]: no continuations: give a list of texts, or of "
                'lists of token ids, as continuations or in the row\'s "continuations"'
            )
        items.append(
            inference_pb2.ScoreItem(
                prompt=prompt, continuations=[_continuation(each) for each in own]
            )
        )
    return items


def chat_message(
    messages: Sequence[Mapping[str, str]],
    add_generation_prompt: bool = True,
    template_kwargs: Mapping[str, Any] | None = None,
) -> pb.Chat:
    """A conversation; `template_kwargs` are further variables of the template."""
    return pb.Chat(
        messages=[
            pb.ChatMessage(role=each["role"], content=each["content"])
            for each in messages
        ],
        add_generation_prompt=add_generation_prompt,
        template_kwargs_json=json.dumps(dict(template_kwargs or {}))
        if template_kwargs
        else "",
    )


def _is_prompt(value: Any) -> bool:
    """Whether this is one prompt, not a list of them."""
    if isinstance(value, str | Mapping):
        return True
    if not hasattr(value, "__len__") or len(value) == 0:
        return False
    first = next(iter(value))
    return _is_number(first) or (isinstance(first, Mapping) and "role" in first)


def _is_number(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _input(prompt: Any, where: str) -> pb.Input:
    if isinstance(prompt, str):
        return pb.Input(text=prompt)
    if isinstance(prompt, Mapping):
        return _input_of_row(prompt, where)
    if not _is_prompt(prompt):
        raise InvalidArgument(
            f"{where}: expected text, token ids, a chat or a row, found {prompt!r:.80}"
        )
    if isinstance(prompt[0], Mapping):
        return pb.Input(chat=chat_message(prompt))
    return pb.Input(tokens=_tokens(prompt))


def _input_of_row(row: Row, where: str) -> pb.Input:
    keys = [key for key in _CONTENT if key in row]
    if len(keys) != 1:
        raise InvalidArgument(
            f"{where}: a row has one of {', '.join(_CONTENT)}; this one has "
            f"{' and '.join(keys) or 'none'}"
        )
    key = keys[0]
    message = pb.Input(
        id=str(row.get("id", "")),
        skip_special_tokens=not row.get("add_special_tokens", True),
        group=row.get("group") or "",
    )
    if key == "prompt":
        message.text = row[key]
    elif key == "tokens":
        message.tokens.CopyFrom(_tokens(row[key]))
    else:
        generate = row.get("add_generation_prompt", True)
        message.chat.CopyFrom(chat_message(row[key], generate))
    for name, value in (row.get("labels") or {}).items():
        message.labels[name] = value if isinstance(value, str) else json.dumps(value)
    return message


def _tokens(ids: Iterable[Any]) -> pb.TokenIds:
    return pb.TokenIds(ids=[int(each) for each in ids])


def _continuation(value: Any) -> inference_pb2.Continuation:
    if isinstance(value, str):
        return inference_pb2.Continuation(text=value)
    ids = value["tokens"] if isinstance(value, Mapping) else value
    return inference_pb2.Continuation(tokens=_tokens(ids))
