"""Recorded curves for the conformance tests: those that are shipped, by their surrogate, so that seeds differ."""

from jfhpo.replay.dataset import describe
from tests.trainers.conformance.case import Case

NAME = "last_digit"
RECORDED = describe(NAME)
CASE = Case(
    problem={
        "task": NAME,
        "proxy": "p",
        "target": "l",
        "max_steps": RECORDED["problem"]["max_steps"],
        "space": RECORDED["space"],
        "trainer_settings": {**RECORDED["problem"]["trainer_settings"], "serve": "surrogate"},
    },
    config=RECORDED["recipe"],
    breaks={"kl_loss_coef": 1e30},
    prompts="recorded curves have no prompts",
)
