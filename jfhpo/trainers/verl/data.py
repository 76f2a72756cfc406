"""What a run of verl reads: prompts as parquet files, in the order of the study's seed, and the lengths of prompts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.tasks.datasets import Prompts, load, own, to_verl
from jfhpo.tasks.datasets.own import OWN
from jfhpo.tasks.datasets.own_reward import is_file
from jfhpo.tasks.datasets.splits import Row
from jfhpo.trainers.hf.order import dealt
from jfhpo.trainers.hf.settings import AT


def prompts_of(task: str, source: Mapping[str, Any]) -> Prompts:
    """The prompts of a task of ours, or of ``own``: a user's rows (`jfhpo.tasks.datasets.own.read_own`)."""
    if task != OWN:
        return load(task, **source)
    return own.prompts_of(own.read_own("verl", **own.without_reward(source)))


def own_function(task: str, source: Mapping[str, Any]) -> str | None:
    """The user's own reward function, where there is one."""
    return source["reward"] if task == OWN and is_file(source["reward"]) else None


def in_order(prompts: Prompts, steps: int, each: int, seed: int, folder: Path) -> Path:
    """The training prompts of the whole horizon (`jfhpo.trainers.hf.order`) as one parquet file.

    verl reads it from front to back without shuffling. The horizon is then one epoch of verl's, and a resume at the
    end of an epoch, which can do no step at all (verl's pull requests 5725 and 7401), does not arise.
    """
    rows = prompts.splits["train"]
    train = [rows[at] for step in dealt(len(rows), steps, each, seed) for at in step]
    return to_verl(dataclasses.replace(prompts, splits={"train": train}), folder)["train"]


def prompt_length(prompts: Prompts, tokenizer: object, at_most: int | None) -> int:
    """Tokens of the longest prompt of any split, as verl will make them from messages.

    Raises:
        UsageError: a prompt longer than `at_most`, with its split and row.
    """
    longest = 0
    for split, rows in prompts.splits.items():
        for row, length in zip(rows, _lengths(rows, tokenizer), strict=True):
            if at_most is not None and length > at_most:
                raise UsageError(
                    f"split {split} of {prompts.name}, row {row.index + 1}: the prompt has {length} tokens, more than "
                    f"{AT}.max_prompt_length={at_most}"
                )
            longest = max(longest, length)
    return at_most or longest


def _lengths(rows: list[Row], tokenizer: object) -> list[int]:
    messages = [row.own["prompt"] if row.own else [{"role": "user", "content": row.prompt}] for row in rows]
    texts = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
