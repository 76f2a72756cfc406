"""What trainers of Hugging Face models tell in the same way: accuracy, FLOPs, a step that diverged, and overhead."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from jfhpo.core.trainer import Evaluation, TrainingFailed
from jfhpo.core.trial import Cost


def accuracy(split: str, right: Sequence[Sequence[float]], greedy: Sequence[float] | None, cost: Cost) -> Evaluation:
    """Of what was answered.

    Args:
        right: the rewards of the k draws of every prompt, (prompts, k).
        greedy: those of greedy decoding, (prompts,); None where nobody asked for it.
    """
    draws = np.asarray(right, dtype=np.float64)
    shares, (prompts, k) = draws.mean(1), draws.shape
    error = float(shares.std(ddof=1)) / math.sqrt(prompts) if prompts > 1 else math.nan
    best = math.nan if greedy is None else float(np.mean(greedy))
    return Evaluation(split, prompts, best, float(shares.mean()), error, k, cost)


def step_flops(weights: int, read: float, epochs: int) -> float:
    """Of a step of GRPO whose prompts and completions have `read` tokens, by the count of
    `jfhpo.trainers.mini.grpo.step_flops`; TRL and verl read a prompt once per completion.

    Args:
        weights: parameters of all matrix products (`jfhpo.trainers.hf.shape.matrix_parameters`).
    """
    return 2.0 * weights * read * (1 + 4 * epochs)


class Overhead:
    """Cost that no step's record carries, until it is told."""

    def __init__(self) -> None:
        self.cost = Cost()

    @contextlib.contextmanager
    def timed(self, now: Callable[[], float]) -> Iterator[None]:
        """What is done inside is charged by this clock of seconds, also where it fails."""
        began = now()
        try:
            yield
        finally:
            self.cost += Cost(seconds=now() - began)

    def check_finite(self, metrics: Mapping[str, float], names: Sequence[str], step: int, cost: Cost) -> None:
        """`TrainingFailed` for the first of these metrics that is not; the step, which has no record, is charged."""
        for name in names:
            if not math.isfinite(metrics[name]):
                self.cost += cost
                raise TrainingFailed(f"{name} is {metrics[name]} at step {step}")

    def told(self) -> Cost:
        """All since the last time."""
        found, self.cost = self.cost, Cost()
        return found
