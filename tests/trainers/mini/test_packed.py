"""Trials packed into one program have the numbers that each has alone, whatever is in the pack beside them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import CheckpointError, Evaluation, TrainingFailed
from jfhpo.core.trial import Cost, Fidelity, StepRecord, Trial
from jfhpo.trainers.mini.packed.trainer import PackedMiniTrainer
from jfhpo.trainers.mini.trainer import MiniTrainer

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
CONFIGS = (
    {"lr": 3e-3, "lr_scheduler": "cosine", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 0.01, "rollout_n": 4},
    {"lr": 1e-2, "lr_scheduler": "constant", "clip_ratio": 0.1, "grad_clip": 0.1, "kl_loss_coef": 0.3, "rollout_n": 8},
    {"lr": 1e-3, "lr_scheduler": "constant", "clip_ratio": 0.3, "grad_clip": 5.0, "kl_loss_coef": 0.0, "rollout_n": 2},
    {"lr": 3e-3, "lr_scheduler": "cosine", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 0.01, "rollout_n": 4,
     "advantage": "grpovi"},
)  # fmt: skip
SETTINGS = {"prompts_per_step": 8}


def trials(steps: int = 6, **changes) -> list[Trial]:
    """Of all kinds, each with a seed of its own."""
    return [Trial(i, c, Fidelity("xs", steps), seed=i, **changes) for i, c in enumerate(CONFIGS)]


def one_by_one(base: Path, **settings) -> MiniTrainer:
    return MiniTrainer("last_digit", {"xs": str(base)}, 50, SETTINGS | settings)


def packed(base: Path, device: str = "cpu", **settings) -> PackedMiniTrainer:
    return PackedMiniTrainer("last_digit", {"xs": str(base)}, 50, SETTINGS | settings, device=device)


def to_the_end(trainer: PackedMiniTrainer, slots: list[int]) -> dict[int, list[StepRecord | TrainingFailed]]:
    """All records of these slots, taken in lockstep."""
    told: dict[int, list] = {slot: [] for slot in slots}
    while slots:
        for slot, record in trainer.advance(slots).items():
            if record is None or isinstance(record, TrainingFailed):
                slots = [s for s in slots if s != slot]
            if record is not None:
                told[slot].append(record)
    return told


def assert_close(found, expected, tolerance: float) -> None:
    """Records, evaluations or numbers are the same to a relative tolerance; counts exactly; seconds are not compared."""
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, tolerance)
    elif isinstance(expected, StepRecord | Evaluation | Cost):
        for field in dataclasses.fields(expected):
            if field.name not in ("seconds", "measured"):
                assert_close(getattr(found, field.name), getattr(expected, field.name), tolerance)
    elif isinstance(expected, float) and not math.isnan(expected):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    elif not isinstance(expected, float):
        assert found == expected


@pytest.fixture
def double() -> Iterator[None]:
    """Double precision throughout: rounding is then far below any difference in what is computed."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("device", DEVICES)
def test_every_trial_of_a_pack_is_what_it_is_alone(guessing_base, small_splits, double, device):
    """Four configurations, seeds and numbers of rollouts; six steps, a validation on the way, weights and moments."""
    pack, given = packed(guessing_base, device), trials(validate_at=(3,))
    for slot, trial in enumerate(given):
        pack.start(slot, trial)
    told = to_the_end(pack, list(range(len(given))))
    for slot, trial in enumerate(given):
        alone = one_by_one(guessing_base)
        assert_close(told[slot], list(alone.start(trial)), 1e-8)
        member = pack.members[slot]
        adam = alone.optimizer.state[alone.policy.flat]
        for found, expected in zip(
            (member.weights, *member.moments), (alone.policy.flat, adam["exp_avg"], adam["exp_avg_sq"]), strict=True
        ):
            assert expected.dtype == torch.float64
            torch.testing.assert_close(found.cpu(), expected.detach(), atol=1e-9, rtol=1e-9)
        member.hand_back()
        assert torch.equal(alone.order.generator.get_state(), member.trainer.order.generator.get_state())
        assert torch.equal(alone.sampling.get_state(), member.trainer.sampling.get_state())
