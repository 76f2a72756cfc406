"""verl for the conformance tests: about fifty starts of it, so with ``--slow`` alone, in the environment of
``./run_all.sh setup verl-cpu``.

Sampling by vLLM does not repeat, whatever the seed, so equal runs are the same in what is not drawn: the steps, their
learning rates, which of them are validated, on how many prompts and with how many draws. What is drawn differs from run
to run as it does from seed to seed: `DRAWN` is twice the largest difference, at any of six steps, among ten seeds of
the miniature trainer on this problem, and of a share of `PROMPTS` four standard deviations of the difference between
two draws. That shows what is off by far, not what is off a little.
"""

from __future__ import annotations

import math

from tests.trainers.conformance.case import Case
from tests.trainers.mini.conformance import CONFIG, GUESSING

PROMPTS = 32
RIGHT = 0.1
"""About the share that the base answers right."""
SHARE = 4 * math.sqrt(2 * RIGHT * (1 - RIGHT) / PROMPTS)
DRAWN = {
    "reward_mean": 0.5,
    "kl": 0.02,
    "entropy": 0.6,
    "grad_norm": 1.7,
    "clip_fraction": 0.02,
    "completion_length": 9.0,
    "loss": 0.64,
    "val_accuracy": SHARE,
    "greedy": 0.2,
    "mean_at_k": SHARE,
    "standard_error": math.sqrt(RIGHT / PROMPTS),
    "tokens": 290,
    "flops": 7e7,
}
CASE = Case(
    problem={
        "task": "last_digit",
        "pretrain": GUESSING,
        "trainer_settings": {"prompts_per_step": 8, "minibatches": 2, "held_out_prompts": PROMPTS},
    },
    config=CONFIG | {"lr": 3e-4},
    breaks={"lr": 1e30},
    prompts=lambda trainer: {split: [r.prompt for r in rows] for split, rows in trainer.prompts.splits.items()},
    drawn=DRAWN,
    processes=True,
    slow=True,
)
