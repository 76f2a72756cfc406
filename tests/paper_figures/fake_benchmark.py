"""A benchmark's records for as many methods, problems and seeds as a test or a look at the figures needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jfhpo.core.trial import Cost
from tests.paper_figures.fake_results import FakeStudy

TWELVE = (
    "recipe", "random_search", "hyperband", "asha", "bohb", "tpe", "gp_ei", "smac", "nomad", "a_stranger",
    "jfhpo_paper", "jfhpo",
)  # fmt: skip
"""As many as the tables have to hold; one has no colour of its own."""
BUDGET = 100.0


def benchmark(
    out: Path, methods: Sequence[str], problems: Sequence[str], seeds: Sequence[int], noise: float = 0.02
) -> None:
    """Every method at its place in the order of `methods`, the last one the best by 0.04 a place and the soonest; a
    problem is ``task-target``. Seeds move all methods alike, and each a little by itself (`noise`)."""
    for p, problem in enumerate(problems):
        for seed in seeds:
            for place, method in enumerate(methods):
                rng = np.random.default_rng([p, seed, place])
                score = 0.35 + 0.04 * place + 0.05 * p + 0.01 * seed + noise * rng.normal()
                study(out, method, problem, seed, min(score, 0.99), first=8 + 3 * (len(methods) - place) * rng.random())


def study(out: Path, method: str, problem: str, seed: int, score: float, first: float = 10.0) -> None:
    """A finished study. The recipe trains once, at 20 s; any other at `first` seconds and then at equal distances, each
    time halfway up to its final score, which it has at 90 s."""
    task, _, target = problem.partition("-")
    target = target or "l"
    fake = FakeStudy(
        out, method, seed, problem=problem, task=task, target=target, experiment="benchmark", scale="full",
        budget={"amount": BUDGET, "unit": "seconds"},
    )  # fmt: skip
    runs = 1 if method == "recipe" else 5
    last, height = 20.0 if runs == 1 else 90.0, score - 0.2
    before = 0.0
    for i in range(runs):
        at = last if i == runs - 1 else first + i * (last - first) / runs
        shown = score if i == runs - 1 else score - height * 0.5 ** (i + 1)
        fake.run(
            target, 2, {2: shown}, cost=Cost((at - before) / 2, 100, 1e9), phase="final" if runs == 1 else "search"
        )
        before = at
    fake.finish(min(score + 0.05, 1.0), score)
