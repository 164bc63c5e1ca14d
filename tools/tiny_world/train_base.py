"""Trains the base model from scratch on the tiny world.

Stages: the ladder of matching drills; then documents, open questions and
letter questions that name the option ("facts mix"); then letter questions
about facts as well ("letters mix"), once open questions are learnt. Two
processes of one thread each share every step's batch. All lengths are step
counts, so a second run on the same type of machine gives the same bits.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import progress
from batches import BatchStream, Encoder
from ladder import KINDS, Ladder
from llama import Llama, Shape, copy_matching_heads, structured_start
from muon import Optimizer

PROCESSES = 2
CHECKPOINT = "base_checkpoint.pt"


@dataclass(frozen=True)
class Schedule:
    """Lengths in optimizer steps; rates of the two optimizers."""

    ladder_limit: int = 800
    steps: int = 3200  # After the ladder.
    decay_from: int = 1900  # The rate falls linearly from here ...
    last_rate: float = 0.02  # ... to this share.
    letters_at_latest: int = 1500
    letters_open_accuracy: float = 0.93  # Held-out wordings.
    letters_ramp: int = 200
    check_every: int = 100
    matrix_rate: float = 0.015
    adam_rate: float = 3e-3
    ladder_matrix_rate: float = 0.02

    def rate(self, step: int) -> float:
        """Share of the full learning rate at a step after the ladder."""
        left = (self.steps - step) / (self.steps - self.decay_from)
        return min((step + 1) / 60, 1.0, max(self.last_rate, left))


class Trainer:
    """One process's part of the training."""

    def __init__(
        self, work: Path, tokenizer_file: Path, seed: int, rank: int
    ) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self._work, self._seed, self._rank = work, seed, rank
        self._schedule, self._started = Schedule(), time.time()
        self._encoder = Encoder(tokenizer_file)
        vocabulary = self._encoder.tokenizer.get_vocab_size()
        self.model = Llama(Shape(vocabulary))
        structured_start(self.model)
        self._optimizer = Optimizer(self.model, PROCESSES)
        self._stream = BatchStream(self._encoder, seed, rank)
        self._step, self._letters_at, self._loss = 0, -1, 0.0

    def _say(self, **fields: object) -> None:
        if self._rank == 0:
            line = {"seconds": round(time.time() - self._started), **fields}
            with open(self._work / "train_base.log", "a") as log:
                log.write(json.dumps(line) + "\n")

    def _backward(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        tokens, targets = batch
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, hits = self.model.loss(tokens, *targets)
        loss.backward()
        return loss.detach(), hits

    def climb(self) -> None:
        """The ladder; leaves the matching heads copied behind the recall."""
        ladder = Ladder(self._encoder, self._seed, self._rank)
        s, kinds = self._schedule, len(KINDS)
        for step in range(s.ladder_limit):
            kind, batch = ladder.batch()
            loss, hits = self._backward(batch)
            tally = torch.zeros(2 * kinds)
            tally[KINDS.index(kind)] = hits.sum()
            tally[kinds + KINDS.index(kind)] = len(hits)
            tally = self._optimizer.average(torch.cat([tally, loss[None]]))
            warm = min(1.0, (step + 1) / 30) * (0.6 if ladder.rung > 2 else 1)
            self._optimizer.step(
                s.ladder_matrix_rate * warm, s.adam_rate * warm
            )
            ladder.update(tally[:kinds], tally[kinds:-1])
            if step % 20 == 0:
                self._say(
                    ladder_step=step, rung=ladder.rung,
                    loss=round(float(tally[-1]), 3),
                    accuracy={
                        k: round(a, 2) for k, a in ladder.accuracy.items()
                    },
                )  # fmt: skip
            if ladder.done:
                break
        else:
            raise RuntimeError(
                f"the ladder stopped at rung {ladder.rung} after "
                f"{s.ladder_limit} steps: try another seed"
            )
        self._say(ladder_done=step + 1)
        copy_matching_heads(self.model)
        self._optimizer.reset()

    def _ramp(self) -> float:
        if self._letters_at < 0:
            return 0.0
        done = self._step - self._letters_at
        return min(1.0, done / self._schedule.letters_ramp)

    def _check(self) -> None:
        """Measures, maybe starts the letters mix, saves a checkpoint."""
        s, accuracy = self._schedule, torch.zeros(1)
        if self._rank == 0:
            count = 150 if self._step == s.steps else 60
            measured = progress.measure(self.model, self._encoder, count)
            self._say(
                step=self._step, loss=round(self._loss, 3),
                ramp=round(self._ramp(), 2), **measured,
            )  # fmt: skip
            accuracy[0] = measured["open"]
        dist.broadcast(accuracy, 0)
        learnt = float(accuracy) >= s.letters_open_accuracy
        if self._letters_at < 0 and (
            learnt or self._step >= s.letters_at_latest
        ):
            self._letters_at = self._step
            self._say(letters_from=self._step)
        self._save()

    def _save(self) -> None:
        mine = torch.tensor(self._stream.state(), dtype=torch.float64)
        streams = [torch.zeros_like(mine) for _ in range(PROCESSES)]
        dist.all_gather(streams, mine)
        if self._rank == 0:
            state = {
                "model": self.model.state_dict(),
                "optimizer": self._optimizer.state(),
                "streams": torch.stack(streams),
                "counters": [self._step, self._letters_at, self._loss],
            }
            partial = self._work / (CHECKPOINT + ".partial")
            torch.save(state, partial)
            partial.rename(self._work / CHECKPOINT)

    def resume(self) -> bool:
        """Goes on from the last checkpoint, if there is one."""
        path = self._work / CHECKPOINT
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.restore(state["optimizer"])
        self._stream.restore(state["streams"][self._rank].tolist())
        self._step, self._letters_at, self._loss = state["counters"]
        self._say(resumed_at=self._step)
        return True

    def run(self) -> None:
        """The facts mix, then the letters mix."""
        s = self._schedule
        while self._step < s.steps:
            loss, _ = self._backward(self._stream.next(self._ramp()))
            loss = float(self._optimizer.average(loss[None])[0])
            first = self._step == 0
            self._loss = loss if first else 0.97 * self._loss + 0.03 * loss
            rate = s.rate(self._step)
            self._optimizer.step(s.matrix_rate * rate, s.adam_rate * rate)
            self._step += 1
            if self._step % s.check_every == 0 or self._step == s.steps:
                self._check()


def _process(
    rank: int, work: str, tokenizer_file: str, seed: int, meeting: str
) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=PROCESSES,
    )
    trainer = Trainer(Path(work), Path(tokenizer_file), seed, rank)
    if not trainer.resume():
        trainer.climb()
    trainer.run()
    dist.barrier()
    dist.destroy_process_group()


def train_base(work: Path, tokenizer_file: Path, seed: int) -> None:
    """Trains, or goes on training, the base model.

    Leaves base_checkpoint.pt and train_base.log in the folder `work`.
    """
    with tempfile.TemporaryDirectory() as folder:
        meeting = os.path.join(folder, "meeting")
        mp.spawn(
            _process,
            (str(work), str(tokenizer_file), seed, meeting),
            nprocs=PROCESSES,
        )


def load_trained(work: Path) -> Llama:
    """The model of the last checkpoint."""
    state = torch.load(work / CHECKPOINT, weights_only=True)["model"]
    model = Llama(Shape(state["embed.weight"].shape[0]))
    model.load_state_dict(state)
    return model
