"""Recorded curves for the conformance tests: the recipe's run on the smallest recorded model."""

from __future__ import annotations

from jfhpo.replay.dataset import describe
from tests.trainers.conformance.case import Case

ABOUT = describe("last_digit")
PROBLEM = ABOUT["problem"]

CASE = Case(
    problem={
        "task": "last_digit",
        "proxy": "p",
        "target": "l",
        "space": ABOUT["space"],
        "max_steps": PROBLEM["max_steps"],
        "trainer_settings": PROBLEM["trainer_settings"],
    },
    config=ABOUT["recipe"],
    breaks={"lr": 1e30},
    prompts="a recording has no prompts",
    one_seed="it was recorded with one seed",
)
