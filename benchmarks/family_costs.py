"""CPU seconds of a GRPO step on every size of the miniature family: its `relative_cost`.

    python benchmarks/family_costs.py [rounds=16] [rollout_n=8] [minibatches=4] [json=path]

A step is 16 prompts × 8 rollouts in four updates, as in the problems, on one thread. Each size starts from its own
skilled base (made where the cache does not have it) and trains for 25 steps before it is timed: a base mostly answers
at once, and a policy that has learned to work step by step writes completions twice as long, on which a large model
costs more beside a small one. What is left of such differences is no matter of size: the seconds are those of 1,000
completion tokens. The sizes take turns, step by step, in one process, since this kind of machine is never quiet: a
size's cost is that of its step which was disturbed least, and its ratio to xs is what
`jfhpo.trainers.mini.family.FAMILY` holds. The ratio of medians is shown beside it.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1"}

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Cost, Fidelity, StepRecord, Trial
from jfhpo.core.words import settings
from jfhpo.trainers.mini.family import FAMILY, BaseSpec, build_base
from jfhpo.trainers.mini.trainer import MiniTrainer

TASK, SMALLEST, WARM_UP = "last_digit", "xs", 25
CONFIG = {"lr_scheduler": "constant", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 1e-3}
LR_TIMES_WIDTH = 0.016
"""A learning rate that teaches every size something: 5e-4 on xs."""
DEFAULTS = {"rounds": "16", "rollout_n": "8", "minibatches": "4", "json": "-"}


def steps_of(size: str, rounds: int, rollout_n: int, minibatches: int) -> Iterator[StepRecord]:
    spec = BaseSpec.of(TASK, size)
    folder = spec.folder if spec.made else build_base(spec)
    steps = rounds + WARM_UP + 1  # the last one would validate
    batch = {"prompts_per_step": 16, "minibatches": minibatches}
    trainer = MiniTrainer(TASK, {size: str(folder)}, max_steps=steps, settings=batch)
    config = CONFIG | {"lr": LR_TIMES_WIDTH / FAMILY[size].width, "rollout_n": rollout_n}
    return trainer.start(Trial(0, config, Fidelity(size, steps), seed=0))


def measure(rounds: int, rollout_n: int, minibatches: int) -> dict[str, list[Cost]]:
    """Size -> what its step of every round took."""
    running = {size: steps_of(size, rounds, rollout_n, minibatches) for size in FAMILY}
    found = [{size: next(steps).cost for size, steps in running.items()} for _ in range(rounds + WARM_UP)]
    return {size: [costs[size] for costs in found[WARM_UP:]] for size in FAMILY}


def summary(costs: dict[str, list[Cost]]) -> dict[str, dict[str, float]]:
    per_token = {size: [c.seconds / c.tokens for c in of_size] for size, of_size in costs.items()}
    return {
        size: {
            "seconds_per_step": median(c.seconds for c in costs[size]),
            "tokens_per_step": median(c.tokens for c in costs[size]),
            "least_seconds_per_1000_tokens": 1000 * min(per_token[size]),
            "relative_cost": min(per_token[size]) / min(per_token[SMALLEST]),
            "relative_cost_by_medians": median(per_token[size]) / median(per_token[SMALLEST]),
        }
        for size in costs
    }


COLUMNS = {
    "s a step": "{seconds_per_step:.3f}",
    "tokens": "{tokens_per_step:.0f}",
    "least s per 1,000 tokens": "{least_seconds_per_1000_tokens:.4f}",
    "relative cost": "[bold]{relative_cost:.2f}[/]",
    "by medians": "{relative_cost_by_medians:.2f}",
}


def main(words: list[str]) -> None:
    try:
        given = settings(words, DEFAULTS)
    except UsageError as error:
        sys.exit(f"error: {error}")
    torch.set_num_threads(1)
    n, minibatches = int(given["rollout_n"]), int(given["minibatches"])
    found = summary(measure(int(given["rounds"]), n, minibatches))
    title = f"CPU seconds per GRPO step, 16 × {n} rollouts, {minibatches} updates, one thread"
    table = Table("size", *COLUMNS, "in the family", title=title)
    for size, row in found.items():
        table.add_row(size, *(form.format(**row) for form in COLUMNS.values()), f"{FAMILY[size].relative_cost:g}")
    Console().print(table)
    if given["json"] != DEFAULTS["json"]:
        Path(given["json"]).write_text(json.dumps(found | {"load": os.getloadavg()}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
