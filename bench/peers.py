"""The peers: Hugging Face transformers and PEFT, as people use them.

Each function takes items and returns the log-probability of every continuation.
They run under torch.inference_mode, in float32, with sdpa attention.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from items import Item, Row
from peft import PeftModel
from transformers import LlamaForCausalLM

Scores = list[list[float]]
Scorer = Callable[[LlamaForCausalLM, list[Item]], Scores]


def load(
    path: Path, dtype: str = "float32", device: str = "cpu"
) -> LlamaForCausalLM:
    model = LlamaForCausalLM.from_pretrained(
        path, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    )
    return model.eval().to(device)


def load_adapters(
    path: Path, adapters: Iterable[Path], **options: str
) -> PeftModel:
    """Adapter number n is named str(n)."""
    first, *others = adapters
    model = PeftModel.from_pretrained(
        load(path, **options), first, adapter_name="0"
    )
    for number, other in enumerate(others, start=1):
        model.load_adapter(other, adapter_name=str(number))
    return model.eval()


def gather(logits: torch.Tensor, targets: list[int]) -> float:
    """Sum of log P(target) over rows; logits [len(targets), vocab]."""
    logprobs = torch.log_softmax(logits, dim=-1)
    return (
        logprobs[torch.arange(len(targets)), torch.tensor(targets)].sum().item()
    )


@torch.inference_mode()
def one_forward_per_continuation(
    model: LlamaForCausalLM, items: list[Item]
) -> Scores:
    scores = []
    for item in items:
        row = []
        for continuation in item.continuations:
            ids = torch.tensor([item.prompt + continuation])
            logits = model(input_ids=ids, use_cache=False).logits[0]
            start = len(item.prompt) - 1
            row.append(
                gather(logits[start : start + len(continuation)], continuation)
            )
        scores.append(row)
    return scores


@torch.inference_mode()
def one_forward_per_question(
    model: LlamaForCausalLM, items: list[Item]
) -> Scores:
    """For continuations of one token each: all are read off one pass."""
    scores: Scores = []
    for item in items:
        logits = model(
            input_ids=torch.tensor([item.prompt]),
            use_cache=False,
            logits_to_keep=1,
        ).logits
        logprobs = logits[0, -1].log_softmax(-1)
        scores.append([float(logprobs[token]) for [token] in item.continuations])
    return scores


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids [rows, longest] padded on the right, and the attention mask."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


@torch.inference_mode()
def padded_batches(
    model: LlamaForCausalLM,
    items: list[Item],
    batch_size: int = 16,
    equal_inputs_once: bool = False,
) -> Scores:
    """Every continuation is a row; rows are sorted by length, longest first.

    As lm-eval does it: the last token is never an input, padding is on the
    right and needs no mask, log_softmax runs over all positions. With
    equal_inputs_once, rows with the same input share one (lm-eval's
    logits_cache, which helps only where continuations differ in nothing but
    their last token).
    """
    inputs: dict[tuple, list[tuple[int, int]]] = {}
    for i, item in enumerate(items):
        for j, continuation in enumerate(item.continuations):
            row = tuple(item.prompt + continuation[:-1])
            key = row if equal_inputs_once else (row, i, j)
            inputs.setdefault(key, []).append((i, j))
    rows = [
        (list(key if equal_inputs_once else key[0]), places)
        for key, places in inputs.items()
    ]
    rows.sort(key=lambda row: -len(row[0]))
    scores = [[0.0] * len(item.continuations) for item in items]
    for begin in range(0, len(rows), batch_size):
        batch = rows[begin : begin + batch_size]
        ids, _ = padded([row for row, _ in batch])
        logits = model(input_ids=ids, use_cache=False).logits
        logprobs = torch.log_softmax(logits, dim=-1)
        for k, (row, places) in enumerate(batch):
            for i, j in places:
                targets = items[i].continuations[j]
                steps = torch.arange(len(row) - len(targets), len(row))
                chosen = logprobs[k, steps, torch.tensor(targets)]
                scores[i][j] = chosen.sum().item()
    return scores


@torch.inference_mode()
def prompt_cache_by_hand(model: LlamaForCausalLM, items: list[Item]) -> Scores:
    """The prompt once; the rest of all longer continuations in one batch."""
    scores = []
    for item in items:
        prompt = model(
            input_ids=torch.tensor([item.prompt]),
            use_cache=True,
            logits_to_keep=1,
        )
        first = torch.log_softmax(prompt.logits[0, -1], dim=-1)
        row = [first[c[0]].item() for c in item.continuations]
        longer = [j for j, c in enumerate(item.continuations) if len(c) > 1]
        if longer:
            cache = prompt.past_key_values
            cache.batch_repeat_interleave(len(longer))
            ids, mask = padded([item.continuations[j][:-1] for j in longer])
            prompt_mask = mask.new_ones(len(longer), len(item.prompt))
            logits = model(
                input_ids=ids,
                attention_mask=torch.cat([prompt_mask, mask], dim=1),
                past_key_values=cache,
            ).logits
            for k, j in enumerate(longer):
                targets = item.continuations[j][1:]
                row[j] += gather(logits[k, : len(targets)], targets)
        scores.append(row)
    return scores


def batch_scores(model: PeftModel, rows: list[Row], **options) -> Scores:
    """One padded batch with one continuation a row."""
    targets = [row.item.continuations[0] for row in rows]
    ids, mask = padded(
        [row.item.prompt + target[:-1] for row, target in zip(rows, targets)]
    )
    logits = model(
        input_ids=ids, attention_mask=mask, use_cache=False, **options
    ).logits
    scores = []
    for k, (row, target) in enumerate(zip(rows, targets)):
        start = len(row.item.prompt) - 1
        scores.append([gather(logits[k, start : start + len(target)], target)])
    return scores


@torch.inference_mode()
def adapter_by_adapter(model: PeftModel, rows: list[Row]) -> Scores:
    scores: Scores = [[] for _ in rows]
    for adapter in sorted({row.adapter for row in rows}):
        places = [i for i, row in enumerate(rows) if row.adapter == adapter]
        model.set_adapter(str(adapter))
        group = batch_scores(model, [rows[i] for i in places])
        for i, score in zip(places, group):
            scores[i] = score
    return scores


@torch.inference_mode()
def mixed_adapters(model: PeftModel, rows: list[Row]) -> Scores:
    """All rows in one batch, each with its adapter (PEFT's adapter_names)."""
    names = [str(row.adapter) for row in rows]
    return batch_scores(model, rows, adapter_names=names)
