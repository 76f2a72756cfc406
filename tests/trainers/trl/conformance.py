"""TRL's GRPOTrainer for the conformance tests: the miniature trainer's problem, with prompts that come twice."""

from __future__ import annotations

import pytest

from tests.trainers.conformance.case import Case
from tests.trainers.mini.conformance import CONFIG, GUESSING


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("jfhpo.tasks.datasets.splits.GENERATED_SIZES", {"train": 24, "validation": 32, "test": 32})


CASE = Case(
    problem={"task": "last_digit", "pretrain": GUESSING, "trainer_settings": {"prompts_per_step": 8, "minibatches": 2}},
    config=CONFIG,
    breaks={"lr": 1e30},
    prompts=lambda trainer: {split: list(rows["prompt"]) for split, rows in trainer.data.items()},
    shrink=shrink,
)
