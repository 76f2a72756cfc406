"""TRL's SFTTrainer with LoRA for the conformance tests: generated instructions, with dropout."""

from __future__ import annotations

import pytest

from tests.trainers.conformance.case import Case


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("jfhpo.tasks.instructions.material.SIZES", {"train": 40, "validation": 24, "test": 24})


def prompts(trainer) -> dict[str, list[str]]:
    """What is learned, what the score is measured on, and what the test asks."""
    of = trainer.material
    pairs = {"train": of.train, "validation": of.validation}
    return {split: [prompt for prompt, _ in rows] for split, rows in pairs.items()} | {
        "test": of.questions["test"].prompts
    }


CASE = Case(
    problem={
        "task": "instructions",
        "pretrain": {"max_steps": 5, "bar": 0.0, "polluted_steps": 15, "pool": 2000},
        "trainer_settings": {"batch": 16, "warmup": 0.0, "answered": 8},
    },
    config={"lora_rank": 8, "lora_dropout": 0.1, "lora_alpha": 32, "lr": 2e-2},
    breaks={"lr": 1e36},
    prompts=prompts,
    shrink=shrink,
)
