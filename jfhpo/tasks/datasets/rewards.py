"""Rewards: 1.0 for a right answer, else 0.0, by the rules of the data set, in each engine's own form.

verl: ``reward.custom_reward_function.path=pkg://jfhpo.tasks.datasets.rewards`` with ``name=compute_score``.
TRL: ``GRPOTrainer(reward_funcs=TrlReward("gsm8k"), ...)`` on the columns of `to_trl`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets.definitions import DATASETS, check_extraction
from jfhpo.tasks.datasets.math_check import HELPERS
from jfhpo.tasks.datasets.splits import GENERATED, names
from jfhpo.tasks.text_task import TextTask

_BY_SOURCE = {d.hub: d.name for d in DATASETS.values()} | {f"{GENERATED}{name}": name for name in TASKS}


def grader(name: str, extraction: str = "strict") -> Callable[[str, str], bool]:
    """(completion, right answer) -> whether it is right.

    Args:
        name: of the data set or generated task, or its `data_source`.
        extraction: ``strict`` or ``flexible`` (`definitions.EXTRACTIONS`); generated tasks know strict only.
    """
    check_extraction(extraction)
    name = _BY_SOURCE.get(name, name)
    if name in DATASETS:
        return functools.partial(DATASETS[name].right, extraction=extraction)
    if name not in TASKS:
        raise unknown("data set", name, names())
    if extraction != "strict":
        raise UsageError(f"extraction={extraction}: {name} is generated and checked strictly; valid: strict")
    return functools.partial(_generated_right, TASKS[name])


def _generated_right(task: TextTask, completion: str, gold: str) -> bool:
    # One token per character, and engines hand over text without end-of-sequence: a completion that leaves no room
    # for it within the task's limit was cut.
    return bool(task.check(completion, gold, ended=len(completion) < task.completion_length))


def reward(name: str, completion: str, gold: str, extraction: str = "strict") -> float:
    """1.0 where `completion` answers `gold`, else 0.0; arguments as for `grader`."""
    return float(grader(name, extraction)(completion, gold))


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    extraction: str = "strict",
) -> dict[str, float]:
    """verl's custom reward function; `extraction` comes from ``custom_reward_function.reward_kwargs``.

    verl trains on ``score`` and names the accuracy of its validation after ``acc``.
    """
    score = reward(data_source, solution_str, ground_truth, extraction)
    return {"score": score, "acc": score}


class TrlReward:
    """TRL's reward function for a data set: a class, and not a closure, because TRL may pickle it."""

    def __init__(self, name: str, extraction: str = "strict"):
        grader(name, extraction)  # a name or an extraction that is none is said here, not in the first step
        self.name, self.extraction = name, extraction
        self.__name__ = f"{name}_accuracy"  # TRL logs it under this name

    def __call__(self, completions: Sequence[Any], answer: Sequence[str], **columns: Any) -> list[float]:
        """One reward per completion: text, or a conversation whose last message is the completion."""
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        with ThreadPoolExecutor(HELPERS) as threads:
            return [float(right) for right in threads.map(grader(self.name, self.extraction), texts, answer)]
