"""Steps per second of packed trials against one by one: what many trials in one program gain, on this machine.

    python benchmarks/packed.py [size=p] [trials=1,4,16] [rounds=8] [rollout_n=8] [device=auto] [json=path]

A step is 16 prompts × 8 rollouts in two updates, on one thread; every trial has a seed of its own and trains for some
steps before it is timed, since a base mostly answers at once. One by one a step costs CPU seconds of `MiniTrainer`;
packed it costs its share of the pack's step, wall seconds on a GPU and CPU seconds on a CPU. The two take turns round
by round, since this kind of machine is never quiet. The ratio is that of seconds per completion token, since lengths
differ by chance, and the median over rounds. On a GPU the question is ``trials=1,4,16,64,256``.
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
from jfhpo.core.trial import Cost, Fidelity, Trial
from jfhpo.core.words import settings
from jfhpo.trainers.mini.family import FAMILY, BaseSpec, build_base
from jfhpo.trainers.mini.packed.trainer import PackedMiniTrainer
from jfhpo.trainers.mini.trainer import MiniTrainer

TASK, WARM_UP = "last_digit", 10
CONFIG = {"lr_scheduler": "constant", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 1e-3}
LR_TIMES_WIDTH = 0.016
"""A learning rate that teaches every size something: 5e-4 on xs."""
DEFAULTS = {"size": "p", "trials": "1,4,16", "rounds": "8", "rollout_n": "8", "device": "auto", "json": "-"}


def packed_steps(size: str, base: Path, trials: list[Trial], device: str) -> Iterator[Cost]:
    """What a step of all trials together took, step by step."""
    pack = PackedMiniTrainer(TASK, {size: str(base)}, max_steps=trials[0].fidelity.steps, device=device)
    for slot, trial in enumerate(trials):
        pack.start(slot, trial)
    while True:
        yield sum((record.cost for record in pack.advance(range(len(trials))).values()), Cost())


def measure(size: str, base: Path, count: int, rounds: int, rollout_n: int, device: str) -> dict[str, float]:
    steps = rounds + WARM_UP + 1  # the last one would validate
    config = CONFIG | {"lr": LR_TIMES_WIDTH / FAMILY[size].width, "rollout_n": rollout_n}
    trials = [Trial(seed, config, Fidelity(size, steps), seed) for seed in range(count)]
    alone = MiniTrainer(TASK, {size: str(base)}, max_steps=steps).start(trials[0])
    pack = packed_steps(size, base, trials, device)
    found = [(next(alone).cost, next(pack)) for _ in range(rounds + WARM_UP)][WARM_UP:]
    ratios = [(one.seconds / one.tokens) / (all_.seconds / all_.tokens) for one, all_ in found]
    return {
        "one_by_one": median(one.seconds for one, _ in found),
        "packed": median(all_.seconds / count for _, all_ in found),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def main(words: list[str]) -> None:
    try:
        given = settings(words, DEFAULTS)
        size, device = given["size"], given["device"]
        spec = BaseSpec.of(TASK, size)
        base = spec.folder if spec.made else build_base(spec)
        counts, rounds, n = [int(t) for t in given["trials"].split(",")], int(given["rounds"]), int(given["rollout_n"])
        torch.set_num_threads(1)
        results = {count: measure(size, base, count, rounds, n, device) for count in counts}
    except UsageError as error:
        sys.exit(f"error: {error}")
    where = PackedMiniTrainer(TASK, {size: str(base)}, 1, device=device).device.type
    table = Table(title=f"Seconds a step of one trial on {size}, 16 × {n} rollouts; packed on {where}")
    for column in ("trials", "one by one", "packed", "times faster", "least, most", "steps/s packed"):
        table.add_column(column, justify="right")
    for count, r in results.items():
        spread = f"{r['ratio_min']:.2f}, {r['ratio_max']:.2f}"
        table.add_row(
            str(count), f"{r['one_by_one']:.4f}", f"{r['packed']:.4f}", f"[bold]{r['ratio']:.2f}[/]", spread,
            f"{1 / r['packed']:.1f}",
        )  # fmt: skip
    Console().print(table)
    if given["json"] != "-":
        Path(given["json"]).write_text(json.dumps({"device": where, "size": size} | results, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
