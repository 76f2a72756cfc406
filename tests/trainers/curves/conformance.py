"""Curves by formula for the conformance tests."""

from tests.trainers.conformance.case import Case

CASE = Case(
    problem={"task": "last_digit", "proxy": "p", "target": "l"},
    config={"lr": 1e-3, "lr_scheduler": "constant", "kl_loss_coef": 0.02, "rollout_n": 8},
    breaks={"lr": 1e30},
    prompts="a formula has no prompts",
)
