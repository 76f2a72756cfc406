"""A user's own reward function, named as ``file.py:function``: loaded, checked before anything is launched, and called.

It is the function that their job has already: for TRL ``reward(completions, **columns) -> list of numbers``, for verl
``compute_score(data_source, solution_str, ground_truth, extra_info) -> number or mapping with score``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.tasks.datasets.definitions import DATASETS
from jfhpo.tasks.datasets.own import OWN
from jfhpo.tasks.datasets.rewards import TrlReward, grader
from jfhpo.tasks.datasets.splits import GENERATED, SPLITS, names

TRL_CALL = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
"""What TRL 1.16 hands a reward function in training, besides the columns of the data."""
VERL_CALL = ("data_source", "solution_str", "ground_truth", "extra_info")


def is_file(reward: str) -> bool:
    """Whether a reward is a user's own, and not the name of one of our data sets."""
    return reward.partition(":")[0].endswith(".py")


def load_function(reward: str) -> Callable[..., Any]:
    """The function of ``file.py:function``; a `UsageError` names what is missing of it."""
    file, _, name = reward.partition(":")
    path = Path(file).expanduser()
    if not name:
        raise UsageError(f"reward={reward} must name the function too: {file}:<function>")
    if not path.is_file():
        raise UsageError(f"reward={reward}: no file {path}")
    spec = importlib.util.spec_from_file_location(f"own_reward_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file does when it is imported
        raise UsageError(f"reward={reward}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        own = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
        raise UsageError(f"reward={reward}: {path} holds no function {name}; it has {', '.join(own) or 'none'}")
    return function


def check_verl(reward: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A `UsageError` where verl could not call this function, or not for an empty response to these rows."""
    _check_call(reward, load_function(reward), VERL_CALL)
    for row in rows:
        try:
            compute_score(row["data_source"], "", row["reward_model"]["ground_truth"], row.get("extra_info"), reward)
        except Exception as error:  # whatever a user's function does
            what = f"{type(error).__name__}: {error}"
            raise UsageError(f"reward={reward} fails on an empty response to one of the rows: {what}") from error


def check_verl_rows(reward: str, splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """A `UsageError` for a reward that verl could not use on these rows: of a file, or one of ours by name."""
    if is_file(reward):
        check_verl(reward, splits["validation"][:2])
        return
    grader(reward)
    expected = DATASETS[reward].hub if reward in DATASETS else f"{GENERATED}{reward}"
    for split, rows in splits.items():
        if odd := next((row["data_source"] for row in rows if row["data_source"] != expected), None):
            raise UsageError(f"reward={reward} is for rows with data_source={expected}; data.{split} has {odd}")


def sources(data: Mapping[str, Any]) -> list[Path]:
    """The files that decide what training on a user's data turns out to be: their rows and their reward."""
    reward = data["reward"].partition(":")[0]
    named = [*(data.get(split) for split in SPLITS), reward if is_file(reward) else None]
    return [Path(name) for name in named if name is not None and Path(name).is_file()]


def with_digest(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer's arguments, with a hash of what a user's own files hold where the task is ``own``."""
    if arguments["task"] != OWN:
        return dict(arguments)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in sources(arguments["data"])]
    return {**arguments, "files": digests}


class OwnReward:
    """A user's TRL reward function; its answers are checked at every call.

    Args:
        reward: ``file.py:function``.
    """

    def __init__(self, reward: str):
        self.reward, self.function = reward, load_function(reward)
        self.__name__ = reward.partition(":")[2]  # TRL logs it under this name

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        """One reward per completion.

        Raises:
            ValueError: for anything else, naming the function, which completion and what it got.
        """
        found = list(self.function(completions=completions, **columns))
        if len(found) != len(completions):
            raise ValueError(f"reward {self.reward} gave {len(found)} numbers for {len(completions)} completions")
        for at, value in enumerate(found):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"reward {self.reward} gave {value!r} for completion {at}; it must be a finite number")
        return [float(value) for value in found]

    def try_on(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """A `UsageError` where the function cannot be called on these rows, with an empty completion for each."""
        columns = [name for name in rows[0] if name != "prompt"]
        _check_call(self.reward, self.function, [*TRL_CALL, *columns])
        try:
            self(**call_of(rows, [""] * len(rows)))
        except Exception as error:  # whatever a user's function does
            what = f"{type(error).__name__}: {error}"
            raise UsageError(f"reward={self.reward} fails on an empty completion of the first rows: {what}") from error


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    reward: str = "",
) -> dict[str, float]:
    """verl's custom reward function around the user's, `reward` (from ``custom_reward_function.reward_kwargs``): with
    ``acc``, which validation reads, where theirs gives a number or a mapping without it.

    Raises:
        ValueError: where theirs gives no finite number.
    """
    found = _verl_function(reward)(
        data_source=data_source, solution_str=solution_str, ground_truth=ground_truth, extra_info=extra_info
    )
    score = found.get("score") if isinstance(found, Mapping) else found
    if not isinstance(score, int | float) or not math.isfinite(score):
        raise ValueError(f"reward {reward} gave {found!r}; it must be a finite number, or a mapping with one as score")
    return {"acc": float(score), **(found if isinstance(found, Mapping) else {}), "score": float(score)}


@functools.cache
def _verl_function(reward: str) -> Callable[..., Any]:
    return load_function(reward)


def call_of(rows: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> dict[str, Any]:
    """The arguments of a reward function for one completion per row, in the form that TRL gives it: text for a text
    prompt, messages for messages."""
    chat = not isinstance(rows[0]["prompt"], str)
    completions = [[{"role": "assistant", "content": text}] for text in texts] if chat else list(texts)
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    return {"prompts": [row["prompt"] for row in rows], "completions": completions, **columns}


def trl_reward(reward: str, extraction: str = "strict") -> OwnReward | TrlReward:
    """The reward function for TRL, of a file or of one of our data sets."""
    if is_file(reward):
        return OwnReward(reward)
    if reward not in names():
        known = ", ".join(names())
        raise UsageError(f"reward={reward} must be file.py:function, or a check of ours: {known}")
    return TrlReward(reward, extraction)


def _check_call(reward: str, function: Callable[..., Any], given: Sequence[str]) -> None:
    try:
        inspect.signature(function).bind(**dict.fromkeys(given))
    except TypeError as error:
        raise UsageError(f"reward={reward} cannot take what it will be called with: {error}; add **kwargs") from error
