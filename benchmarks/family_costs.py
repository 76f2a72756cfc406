"""CPU seconds of a GRPO step on every size of the miniature family: its `relative_cost`.

    python benchmarks/family_costs.py [rounds=12] [rollout_n=8] [json=path]

A step is 16 prompts × 8 rollouts in two updates, on one thread, on the task's own skilled bases (made where the cache
does not have them), at a learning rate that changes nothing. The sizes take turns, step by step, in one process, since
this kind of machine is never quiet: the ratio to xs is taken round by round, and its median is what
`jfhpo.trainers.mini.family.FAMILY` holds. Bases differ in how long they answer, which is no matter of size: the seconds
are those of 1,000 completion tokens.
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

TASK, SMALLEST, WARM_UP = "last_digit", "xs", 2
CONFIG = {"lr": 1e-6, "lr_scheduler": "constant", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 1e-3}
DEFAULTS = {"rounds": "12", "rollout_n": "8", "json": "-"}


def steps_of(size: str, rounds: int, rollout_n: int) -> Iterator[StepRecord]:
    spec = BaseSpec.of(TASK, size)
    folder = spec.folder if spec.made else build_base(spec)
    steps = rounds + WARM_UP + 1  # the last one would validate
    trainer = MiniTrainer(TASK, {size: str(folder)}, max_steps=steps, settings={"prompts_per_step": 16})
    return trainer.start(Trial(0, CONFIG | {"rollout_n": rollout_n}, Fidelity(size, steps), seed=0))


def measure(rounds: int, rollout_n: int) -> dict[str, list[Cost]]:
    """Size -> what its step of every round took."""
    running = {size: steps_of(size, rounds, rollout_n) for size in FAMILY}
    found = [{size: next(steps).cost for size, steps in running.items()} for _ in range(rounds + WARM_UP)]
    return {size: [costs[size] for costs in found[WARM_UP:]] for size in FAMILY}


def summary(costs: dict[str, list[Cost]]) -> dict[str, dict[str, float]]:
    per_token = {size: [c.seconds / c.tokens for c in of_size] for size, of_size in costs.items()}
    ratios = {
        size: [mine / least for mine, least in zip(seconds, per_token[SMALLEST], strict=True)]
        for size, seconds in per_token.items()
    }
    return {
        size: {
            "seconds_per_step": median(c.seconds for c in costs[size]),
            "tokens_per_step": median(c.tokens for c in costs[size]),
            "seconds_per_1000_tokens": 1000 * median(per_token[size]),
            "relative_cost": median(ratios[size]),
            "least": min(ratios[size]),
            "most": max(ratios[size]),
        }
        for size in costs
    }


def main(words: list[str]) -> None:
    try:
        given = settings(words, DEFAULTS)
    except UsageError as error:
        sys.exit(f"error: {error}")
    torch.set_num_threads(1)
    found = summary(measure(int(given["rounds"]), int(given["rollout_n"])))
    title = f"CPU seconds per GRPO step, 16 × {given['rollout_n']} rollouts, 2 updates, one thread"
    columns = ("size", "s a step", "tokens", "s per 1,000 tokens", "relative cost", "least, most", "in the family")
    table = Table(*columns, title=title)
    for size, row in found.items():
        table.add_row(
            size,
            f"{row['seconds_per_step']:.3f}",
            f"{row['tokens_per_step']:.0f}",
            f"{row['seconds_per_1000_tokens']:.4f}",
            f"[bold]{row['relative_cost']:.2f}[/]",
            f"{row['least']:.2f}, {row['most']:.2f}",
            f"{FAMILY[size].relative_cost:g}",
        )
    Console().print(table)
    if given["json"] != DEFAULTS["json"]:
        Path(given["json"]).write_text(json.dumps(found | {"load": os.getloadavg()}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
