"""`PackedMiniTrainer`: many trials of the miniature trainer at once, on a GPU where there is one.

A trial is begun, loaded and saved by a `MiniTrainer` of its own, so that its configuration, its random streams and its
checkpoints are that trainer's to the letter: a checkpoint of one continues in the other. Only what takes time is done
here for all of them: steps and evaluations.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import Evaluation, PackedTrainer, TrainingFailed
from jfhpo.core.trial import Cost, StepRecord, Trial
from jfhpo.trainers.mini.packed.grpo import packed_step
from jfhpo.trainers.mini.packed.model import Policies
from jfhpo.trainers.mini.packed.pack import Member, Stack
from jfhpo.trainers.mini.packed.sampling import sample
from jfhpo.trainers.mini.trainer import VALIDATION_K, MiniTrainer
from jfhpo.trainers.mini.vocabulary import EOS, PAD

EVALUATED_AT_ONCE = {"cpu": 1, "cuda": 64}
"""Trials whose evaluation is sampled in one batch. One has 512 rows, enough for a CPU core; the keys and values of 64
on the largest size take 5 GB."""


class PackedMiniTrainer(PackedTrainer):
    """`bases`, `max_steps` and `settings` as of `MiniTrainer`; `device` is ``cpu``, ``cuda`` or ``auto``.

    What a step took is divided among its trials in proportion to their FLOPs (tokens read times weights): wall seconds
    on a GPU, this process's CPU seconds on a CPU.
    """

    def __init__(
        self,
        task: str,
        bases: Mapping[str, str],
        max_steps: int,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
    ):
        self.device = _device(device)
        self.clock = time.perf_counter if self.device.type == "cuda" else time.process_time
        self.prototype = MiniTrainer(task, bases, max_steps, settings)
        self.members: dict[int, Member] = {}
        self.references: dict[str, Policies] = {}
        """By size."""
        self.stacks: dict[str, Stack] = {}

    def start(self, slot: int, trial: Trial, checkpoint: Path | None = None) -> None:
        self.members.pop(slot, None)
        began = self.clock()
        trainer = copy.copy(self.prototype)  # data and settings are shared; all else is made by `start`
        trainer.start(trial, checkpoint)
        member = self.members[slot] = Member(trainer, self.device)
        if trial.fidelity.model not in self.references:
            model = trainer.reference
            weights, rotation = (t.detach().to(self.device) for t in (model.flat, model.rotation))
            self.references[trial.fidelity.model] = Policies(weights.unsqueeze(0), model, rotation)
        member.carried += Cost(seconds=self.clock() - began)

    def advance(self, slots: Sequence[int]) -> dict[int, StepRecord | TrainingFailed | None]:
        found: dict[int, StepRecord | TrainingFailed | None] = {}
        by_size: dict[str, list[int]] = {}
        for slot in slots:
            member = self.members[slot].trainer
            if member.step < member.trial.fidelity.steps:
                by_size.setdefault(member.trial.fidelity.model, []).append(slot)
            else:
                found[slot] = None
        for size, some in by_size.items():
            members = [self.members[slot] for slot in some]
            found |= zip(some, self._step(size, members), strict=True)
        return found

    def save(self, slot: int, path: Path) -> None:
        began, member = self.clock(), self.members[slot]
        member.hand_back()
        member.trainer.save(path)
        member.carried += Cost(seconds=self.clock() - began)

    def evaluate(
        self, slots: Sequence[int], split: str, k: int, seed: int = 0, greedy: bool = True
    ) -> dict[int, Evaluation]:
        by_size: dict[str, list[int]] = {}
        for slot in slots:
            by_size.setdefault(self.members[slot].trainer.trial.fidelity.model, []).append(slot)
        found = {}
        for size, some in by_size.items():
            members = [self.members[slot] for slot in some]
            found |= zip(some, self._evaluate(size, members, split, k, seed, greedy), strict=True)
        return found

    def overhead(self, slot: int) -> Cost:
        member = self.members.get(slot)
        if member is None:
            return Cost()
        carried, member.carried = member.carried, Cost()
        return carried

    # -- one size ------------------------------------------------------------------------------------------------

    def _step(self, size: str, members: list[Member]) -> list[StepRecord | TrainingFailed]:
        began = self.clock()
        if size not in self.stacks or not self.stacks[size].holds(members):
            self.stacks[size] = Stack(members)
        common, like = self.prototype, members[0].trainer.policy
        metrics = packed_step(
            self.stacks[size], self.references[size], like, common.rewarded, common.settings,
            common.task.completion_length,
        )  # fmt: skip
        costs = _shared(self.clock() - began, [(int(m["tokens"]), m["flops"]) for m in metrics])
        due = []
        for member, found in zip(members, metrics, strict=True):
            member.trainer.step = step = member.trainer.step + 1
            trial = member.trainer.trial
            if not _flaw(found) and (step == trial.fidelity.steps or step in trial.validate_at):
                due.append(member)
        validations = self._evaluate(size, due, "validation", VALIDATION_K, 0, False) if due else []
        validated = dict(zip(map(id, due), validations, strict=True))
        return [
            self._record(member, found, cost, validated.get(id(member)))
            for member, found, cost in zip(members, metrics, costs, strict=True)
        ]

    def _record(
        self, member: Member, metrics: dict[str, float], cost: Cost, validation: Evaluation | None
    ) -> StepRecord | TrainingFailed:
        step = member.trainer.step
        if name := _flaw(metrics):
            member.carried += cost
            return TrainingFailed(f"{name} is {metrics[name]} at step {step}")
        told = {name: value for name, value in metrics.items() if name not in ("tokens", "flops")}
        if validation is None:
            return StepRecord(step=step, **told, cost=cost)
        return StepRecord(step=step, **told, cost=cost + validation.cost, val_accuracy=validation.mean_at_k)

    def _evaluate(
        self, size: str, members: list[Member], split: str, k: int, seed: int, greedy: bool
    ) -> list[Evaluation]:
        """As `MiniTrainer.evaluate`, for all of them."""
        began, data = self.clock(), self.prototype.data[split]
        every, T = torch.arange(len(data)), len(members)
        right, best = torch.zeros(T, len(data)), [math.nan] * T
        tokens = torch.zeros(T, dtype=torch.long)
        at_once = EVALUATED_AT_ONCE[self.device.type]
        for start in range(0, T, at_once):
            some = members[start : start + at_once]
            here, count = slice(start, start + len(some)), len(some)
            policies = Policies(
                torch.stack([m.weights for m in some]), some[0].trainer.policy, self.references[size].rotation
            )
            for draw in [*range(k), *([None] if greedy else [])]:
                # One stream per draw, so that the first of k draws is the same for every k.
                generators = draw if draw is None else [_stream(1_000_003 * seed + draw) for _ in some]
                drawn = sample(
                    policies, data.prompts.to(self.device).expand(count, -1, -1), [1] * count,
                    self.prototype.task.completion_length, eos=EOS, pad=PAD, generators=generators,
                )  # fmt: skip
                rewards = data.reward(every.repeat(count), drawn.tokens).view(count, -1)
                tokens[here] += torch.from_numpy(drawn.mask.reshape(count, -1).sum(1))
                if draw is None:
                    best[here] = [float(one.mean()) for one in rewards]
                else:
                    right[here] += rewards
        weights = members[0].trainer.policy.flat.numel() - members[0].trainer.policy.embedding.numel()
        read = (k + greedy) * data.prompts.numel()
        works = [(count, 2.0 * weights * (count + read)) for count in tokens.tolist()]
        return [
            Evaluation(
                split=split,
                prompts=len(data),
                greedy=greedily,
                mean_at_k=float(share.mean()),
                standard_error=float(share.std() / math.sqrt(len(data))),
                k=k,
                cost=cost,
            )
            for greedily, share, cost in zip(best, right / k, _shared(self.clock() - began, works), strict=True)
        ]


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda, and this machine has no GPU; device=cpu or device=auto trains without one")
    return torch.device(name)


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _flaw(metrics: Mapping[str, float]) -> str | None:
    """The metric with which training cannot go on."""
    return next((name for name in ("loss", "grad_norm") if not math.isfinite(metrics[name])), None)


def _shared(seconds: float, works: Iterable[tuple[int, float]]) -> list[Cost]:
    """Seconds divided among trials by the FLOPs of each: (tokens, FLOPs) -> its cost."""
    works = list(works)
    total = sum(flops for _, flops in works)
    return [Cost(seconds * flops / total, tokens, flops) for tokens, flops in works]
