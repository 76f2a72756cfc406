"""verl for the conformance tests. They have not been run on it: each of its starts takes a minute.

Sampling by vLLM does not repeat to the last bit, so the tolerance, which is none here, is for the first run to find.
"""

from __future__ import annotations

from tests.trainers.conformance.case import Case
from tests.trainers.mini.conformance import CONFIG, GUESSING

CASE = Case(
    problem={
        "task": "last_digit",
        "pretrain": GUESSING,
        "trainer_settings": {"prompts_per_step": 8, "minibatches": 2, "held_out_prompts": 32},
    },
    config=CONFIG,
    breaks={"lr": 1e30},
    prompts=lambda trainer: {split: [r.prompt for r in rows] for split, rows in trainer.prompts.splits.items()},
    slow=True,
)
