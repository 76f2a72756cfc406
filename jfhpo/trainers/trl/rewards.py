"""What TRL trains a generated task on: the exact answer or partial credit, the same as in the miniature trainer.

Both are of the tokens that were sampled, up to the first end of sequence. Of the text that TRL hands over, special
tokens are gone, and a completion with padding in its midst would be taken for one without.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets import TrlReward
from jfhpo.tasks.datasets.own_reward import OwnReward
from jfhpo.tasks.graded import credit, solution


class TaskReward:
    """`kind` is ``exact`` or ``graded``; `ends` are the tokens at which the engine takes a completion for ended."""

    def __init__(self, task: str, kind: str, tokenizer: Any, ends: Collection[int]):
        self.task, self.kind, self.tokenizer, self.ends = TASKS[task], kind, tokenizer, frozenset(ends)
        self.__name__ = f"{task}_{kind}"  # TRL logs it under this name
        self.solved = functools.cache(lambda prompt: solution(self.task, prompt))

    def __call__(
        self, prompts: Sequence[str], completion_ids: Sequence[Sequence[int]], answer: Sequence[str], **columns: Any
    ) -> list[float]:
        """One reward in [0, 1] per completion, whose tokens end with the end of sequence where there was one."""
        return [self._reward(*each) for each in zip(prompts, completion_ids, answer, strict=True)]

    def _reward(self, prompt: str, ids: Sequence[int], answer: str) -> float:
        ended = bool(ids) and ids[-1] in self.ends
        text = self.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=False)
        if self.kind == "graded":
            return credit(text, self.solved(prompt), ended)
        return self.task.check(text, answer, ended)


class Counted:
    """A reward function that counts the tokens it was given."""

    def __init__(self, reward: TaskReward | TrlReward | OwnReward):
        self.reward, self.tokens = reward, 0
        self.__name__ = reward.__name__

    def __call__(self, completion_ids: Sequence[Sequence[int]], **given: Any) -> list[float]:
        self.tokens += sum(map(len, completion_ids))
        return self.reward(completion_ids=completion_ids, **given)
