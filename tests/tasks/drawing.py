"""Questions to test a task on, and how far a share of them may lie from what was asked."""

from __future__ import annotations

import random
from typing import Any

from jfhpo.tasks.text_task import TextTask


def questions(task: TextTask, count: int, seed: int = 0) -> list[Any]:
    rng = random.Random(seed)
    return [task.draw(rng) for _ in range(count)]


def within(share: float, wanted: float, count: int) -> bool:
    """Inside 4 standard errors of a binomial share: once in 16,000 by chance, and the seed is fixed."""
    return abs(share - wanted) < 4 * (wanted * (1 - wanted) / count) ** 0.5
