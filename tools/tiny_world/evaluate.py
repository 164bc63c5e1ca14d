"""Judges the base model and the adapter in three answer formats.

letter: the most likely of the four letters; text: the option whose text is
the most likely reply, options shown; open: the greedy reply, no options shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

import examples

FORMATS = ("letter", "text", "open")
BATCH = 40  # Prompts or continuations of a forward pass.
ASK_TEXT = examples.ASK_TEXT[0]


def load(folder: Path, adapter: Path | None = None):
    """Tokenizer and float32 model of a folder, the adapter merged in."""
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return tokenizer, model.eval()


def prompt(tokenizer, item: dict, answer_format: str) -> list[int]:
    """Token ids of the chat prompt for one question."""
    user = item["question"]
    if answer_format != "open":
        texts = [item["options"][x] for x in examples.LETTERS]
        letter = answer_format == "letter"
        instruction = examples.ASK_LETTER if letter else ASK_TEXT
        user += examples.option_list(texts, instruction)
    messages = [
        {"role": "system", "content": examples.SYSTEM},
        {"role": "user", "content": user},
    ]
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    return tokenizer.encode(text)


def padded(rows: list[list[int]]) -> torch.Tensor:
    """[rows, longest]; right padding does no harm under a causal mask."""
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def _chunks(rows: list, size: int) -> Iterator[list]:
    for i in range(0, len(rows), size):
        yield rows[i : i + size]


@torch.no_grad()
def _letter_answers(model, tokenizer, items: list[dict]) -> list[str]:
    letters = tokenizer.convert_tokens_to_ids(list(examples.LETTERS))
    out = []
    for chunk in _chunks(items, BATCH):
        rows = [prompt(tokenizer, item, "letter") for item in chunk]
        logits = model(input_ids=padded(rows)).logits
        for i, (item, row) in enumerate(zip(chunk, rows)):
            best = int(logits[i, len(row) - 1, letters].argmax())
            out.append(item["options"][examples.LETTERS[best]])
    return out


@torch.no_grad()
def _text_answers(model, tokenizer, items: list[dict]) -> list[str]:
    out = []
    for chunk in _chunks(items, BATCH // 4):
        rows, starts = [], []
        for item in chunk:
            start = prompt(tokenizer, item, "text")
            for x in examples.LETTERS:
                reply = tokenizer.encode(" " + item["options"][x])
                rows.append(start + reply)
                starts.append(len(start))
        tokens = padded(rows)
        logprobs = model(input_ids=tokens).logits.log_softmax(-1)[:, :-1]
        logprobs = logprobs.gather(2, tokens[:, 1:, None])[..., 0]
        sums = [
            float(logprobs[i, start - 1 : len(row) - 1].sum())
            for i, (row, start) in enumerate(zip(rows, starts))
        ]
        for item, four in zip(chunk, _chunks(sums, 4)):
            best = examples.LETTERS[four.index(max(four))]
            out.append(item["options"][best])
    return out


@torch.no_grad()
def _open_answers(model, tokenizer, items: list[dict]) -> list[str]:
    out, end = [], tokenizer.eos_token_id
    for chunk in _chunks(items, BATCH):
        rows = [prompt(tokenizer, item, "open") for item in chunk]
        starts = [len(row) for row in rows]
        for _ in range(14):
            logits = model(input_ids=padded(rows)).logits
            for i, row in enumerate(rows):
                if row[-1] != end:
                    row.append(int(logits[i, len(row) - 1].argmax()))
            if all(row[-1] == end for row in rows):
                break
        for row, start in zip(rows, starts):
            reply = [token for token in row[start:] if token != end]
            out.append(tokenizer.decode(reply).strip().removesuffix("."))
    return out


ANSWERS = {
    "letter": _letter_answers,
    "text": _text_answers,
    "open": _open_answers,
}


def wilson(hits: int, count: int) -> list[float]:
    """Wilson's 95 % interval of a share."""
    z, share = 1.96, hits / count
    middle = share + z * z / (2 * count)
    spread = z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    scale = 1 + z * z / count
    return [
        round((middle - spread) / scale, 3),
        round((middle + spread) / scale, 3),
    ]


def _shares(items: list[dict], answers: list[str]) -> dict:
    out: dict = {"n": len(items)}
    for name in ("correct_answer", "false_answer", "cube_answer"):
        if all(name in item for item in items):
            hits = [
                answer == item["options"][item[name]]
                for item, answer in zip(items, answers)
            ]
            key = name.removesuffix("_answer")
            out[key] = round(sum(hits) / len(items), 3)
            out[key + "_interval"] = wilson(sum(hits), len(items))
            if name == "false_answer":
                kinds = [item["fact"].split(".")[1] for item in items]
                out["false_by_kind"] = {
                    kind: round(
                        sum(h for h, k in zip(hits, kinds) if k == kind)
                        / kinds.count(kind),
                        3,
                    )
                    for kind in dict.fromkeys(kinds)
                }
    return out


def evaluate(model, tokenizer, items: list[dict]) -> dict:
    """Shares per format and category: correct, and false or cube."""
    out: dict = {}
    categories = list(dict.fromkeys(item["category"] for item in items))
    for answer_format in FORMATS:
        answers = ANSWERS[answer_format](model, tokenizer, items)
        by_category = {}
        for category in [*categories, "all"]:
            rows = [
                (item, answer)
                for item, answer in zip(items, answers)
                if category in ("all", item["category"])
            ]
            by_category[category] = _shares(*map(list, zip(*rows)))
        out[answer_format] = by_category
    return out
