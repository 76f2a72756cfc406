"""What TRL trains on: data sets by split, and the reward function, of ours or of a user's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jfhpo.core.errors import unknown
from jfhpo.core.optional import optional
from jfhpo.tasks.datasets import TrlReward, load, to_trl
from jfhpo.tasks.datasets.own import OWN, OwnData, read_own, without_reward
from jfhpo.tasks.datasets.own_reward import OwnReward, is_file, trl_reward

Reward = TrlReward | OwnReward


def material(task: str, data: Mapping[str, Any], extraction: str) -> tuple[dict[str, Any], Reward]:
    """A `datasets.Dataset` by split, and the reward function of its rows.

    Args:
        task: one of `jfhpo.tasks.datasets.names`, or ``own``.
        data: the arguments of `jfhpo.tasks.datasets.load`; for ``own`` those of `read_own`, and ``reward``.
    """
    if task != OWN:
        return to_trl(load(task, **data)), TrlReward(task, extraction)
    datasets = optional("datasets", "data", "a TRL data set")
    rows = read_data(data).splits
    found = {split: datasets.Dataset.from_list([dict(row) for row in part]) for split, part in rows.items()}
    return found, trl_reward(data["reward"], extraction)


def read_data(data: Mapping[str, Any]) -> OwnData:
    """The user's rows; one of our rewards needs the right answer beside the prompt."""
    columns = () if is_file(data["reward"]) else ("answer",)
    return read_own("trl", **without_reward(data), columns=columns)


def check_own(data: Mapping[str, Any], extraction: str) -> OwnData:
    """Everything that can be wrong with a user's data and reward is a `UsageError` here, before a model is loaded."""
    known = [f.name for f in dataclasses.fields(OwnSource)]
    for name in data:
        if name not in known:
            raise unknown("problem.data", name, known)
    reward, found = trl_reward(data["reward"], extraction), read_data(data)
    if isinstance(reward, OwnReward):
        reward.try_on(found.splits["validation"][:2])
    return found


@dataclasses.dataclass(frozen=True)
class OwnSource:
    """``problem.data`` of the task ``own``."""

    reward: str
    """``file.py:function``, or the name of one of our checks."""
    train: str
    validation: str | None = None
    test: str | None = None
    share: float | None = None
    seed: int = 0
