"""The miniature trainer for the conformance tests: an xs base that guesses, and an epoch of eight steps."""

from __future__ import annotations

import pytest

from tests.trainers.conformance.case import Case

GUESSING = {
    "max_steps": 10,
    "bar": 0.0,
    "polluted_steps": 80,
    "pollution": {"direct": 0.8, "wrong_step": 0.0},
    "pool": 4000,
}
"""Made in seconds, and right every tenth time, so that rewards differ."""
CONFIG = {
    "lr": 3e-3, "lr_scheduler": "cosine", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 0.01, "rollout_n": 4,
}  # fmt: skip


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("jfhpo.trainers.mini.trainer.SPLIT_SIZES", {"train": 64, "validation": 48, "test": 32})


CASE = Case(
    problem={"task": "last_digit", "pretrain": GUESSING, "trainer_settings": {"prompts_per_step": 8}},
    config=CONFIG,
    breaks={"lr": 1e30},
    prompts=lambda trainer: {split: list(map(tuple, rows.prompts.tolist())) for split, rows in trainer.data.items()},
    shrink=shrink,
)
