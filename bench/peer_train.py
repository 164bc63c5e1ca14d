"""The peer of training: PEFT in a plain torch loop, in a process of its own.

    python bench/peer_train.py < request.json > answer.json

As people write it: padded micro-batches, sdpa attention, the loss averaged over
the predicted tokens of the step (num_items_in_batch, as Trainer has it), AdamW,
gradients clipped. Only steps are timed, not loading.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peers import load, padded

IGNORED = -100  # labels that are not predicted
KIB_PER_MIB = 1024


def memory_mib(field: str, process: str = "self") -> float:
    """VmRSS or VmHWM of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / KIB_PER_MIB
    raise RuntimeError(f"process {process} has ended")


def forget_peak(process: str = "self") -> None:
    """VmHWM counts from here."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def step(
    model: PeftModel,
    optimizer: torch.optim.Optimizer,
    micro_batches: list[list[list[int]]],
    max_norm: float,
) -> float:
    """One optimizer step; its loss."""
    targets = sum(len(row) - 1 for rows in micro_batches for row in rows)
    loss = 0.0
    for rows in micro_batches:
        ids, mask = padded(rows)
        part = model(
            input_ids=ids,
            attention_mask=mask,
            labels=ids.masked_fill(mask == 0, IGNORED),
            num_items_in_batch=targets,
            use_cache=False,
        ).loss
        part.backward()
        loss += part.item()
    trained = [p for p in model.parameters() if p.requires_grad]
    torch.nn.utils.clip_grad_norm_(trained, max_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


def train(request: dict[str, Any]) -> dict[str, Any]:
    model = PeftModel.from_pretrained(
        load(Path(request["model"])), request["adapter"], is_trainable=True
    ).train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=request["learning_rate"],
        weight_decay=0.0,
    )
    rows, size = request["documents"], request["micro_batch_size"]
    micro_batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    before = memory_mib("VmRSS")
    forget_peak()
    losses, seconds = [], []
    for _ in range(request["steps"]):
        start = time.perf_counter()
        losses.append(
            step(model, optimizer, micro_batches, request["max_grad_norm"])
        )
        seconds.append(time.perf_counter() - start)
    return {
        "losses": losses,
        "peak_mib": memory_mib("VmHWM") - before,
        "seconds": seconds,
    }


def main() -> None:
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    json.dump(train(request), sys.stdout)


if __name__ == "__main__":
    main()
