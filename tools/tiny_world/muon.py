"""Muon for matrices, AdamW for the rest, gradients averaged over processes.

Muon: momentum whose update is orthogonalised by a Newton-Schulz iteration
(Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from llama import Llama

MOMENTUM, DECAY = 0.95, 0.02


def orthogonalised(gradients: torch.Tensor) -> torch.Tensor:
    """Nearly orthogonal matrices from gradients [n, rows, columns]."""
    norm = gradients.norm(dim=(1, 2), keepdim=True)
    x = (gradients / (norm + 1e-7)).bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Optimizer:
    """Steps the model's weights; every process holds the same state."""

    def __init__(self, model: Llama, processes: int) -> None:
        self._processes = processes
        self._model = model
        by_shape: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
        self._rest = []
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and not name.startswith("embed"):
                by_shape.setdefault(tuple(weight.shape), []).append(weight)
            else:
                self._rest.append(weight)
        self._groups = list(by_shape.values())
        self.reset()

    def reset(self) -> None:
        """Forgets momentum and Adam's moments."""
        self._momentum = [
            torch.zeros(len(group), *group[0].shape) for group in self._groups
        ]
        self._adam = torch.optim.AdamW(
            self._rest, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0
        )

    def state(self) -> dict:
        """What a checkpoint must hold."""
        return {"momentum": self._momentum, "adam": self._adam.state_dict()}

    def restore(self, state: dict) -> None:
        """Goes on from a checkpoint."""
        self._momentum = state["momentum"]
        self._adam.load_state_dict(state["adam"])

    def average(self, extra: torch.Tensor) -> torch.Tensor:
        """Averages gradients and `extra` over the processes; returns extra."""
        weights = list(self._model.parameters())
        flat = torch.cat([w.grad.flatten() for w in weights] + [extra])
        if self._processes > 1:
            dist.all_reduce(flat)
            flat /= self._processes
        at = 0
        for weight in weights:
            weight.grad = flat[at : at + weight.numel()].view_as(weight)
            at += weight.numel()
        return flat[at:]

    @torch.no_grad()
    def step(self, matrix_rate: float, adam_rate: float) -> None:
        """Moves the weights along their gradients and forgets these."""
        for group, momentum in zip(self._groups, self._momentum):
            gradients = torch.stack([weight.grad for weight in group])
            momentum.mul_(MOMENTUM).add_(gradients)
            gradients.add_(momentum, alpha=MOMENTUM)
            rows, columns = group[0].shape
            rate = matrix_rate * max(1.0, rows / columns) ** 0.5
            for weight, update in zip(group, orthogonalised(gradients)):
                weight.mul_(1 - matrix_rate * DECAY).add_(update, alpha=-rate)
        torch.nn.utils.clip_grad_norm_(self._rest, 1.0)
        self._adam.param_groups[0]["lr"] = adam_rate
        self._adam.step()
        self._model.zero_grad(set_to_none=True)
