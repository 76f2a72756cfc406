"""Exact and graded rewards of a completion are the same in TRL as in the miniature trainer, whatever was sampled."""

from __future__ import annotations

import random

import pytest
import torch

from jfhpo.tasks import TASKS
from jfhpo.tasks.graded import QUESTIONS, solution
from jfhpo.tasks.text_task import Corruption
from jfhpo.trainers.mini.graded import GradedSplit
from jfhpo.trainers.mini.hf import hf_tokenizer
from jfhpo.trainers.mini.vocabulary import EOS, PAD, Vocabulary
from jfhpo.trainers.trl.rewards import Counted, TaskReward

ROLLOUTS = 24


def sampled(task, vocabulary, example, rng: random.Random) -> list[int]:
    """Worked solutions right, spoilt and not begun, cut at the limit, with padding in their midst, and noise."""
    limit = task.completion_length
    question = QUESTIONS[task.name](example.prompt)
    ids = [*vocabulary.encode(task.work(question, rng, Corruption(direct=0.2, wrong_step=0.3))), EOS]
    kind = rng.randrange(5)
    if kind == 0:
        ids = [rng.randrange(len(vocabulary)) for _ in range(limit)]
    elif kind == 1:
        ids = [*ids[:-1], *[rng.randrange(2, len(vocabulary))] * limit]
    elif kind == 2:
        ids.insert(rng.randrange(len(ids)), PAD)
    return ids[:limit]


@pytest.mark.parametrize("name", sorted(QUESTIONS))
@pytest.mark.parametrize("kind", ["exact", "graded"])
def test_both_engines_reward_the_same_completions_alike(name, kind):
    task, rng = TASKS[name], random.Random(0)
    vocabulary = Vocabulary(task)
    examples = task.splits({"train": 40, "validation": 1, "test": 1})["train"]
    split = vocabulary.batch(examples)
    if kind == "graded":
        split = GradedSplit(split, examples, vocabulary)
    which = [i for i in range(len(examples)) for _ in range(ROLLOUTS)]
    rows = [sampled(task, vocabulary, examples[i], rng) for i in which]
    # As each engine has them: the miniature one pads to one length, TRL cuts behind the first end of sequence.
    ended = [row[: row.index(EOS) + 1] if EOS in row else row for row in rows]
    padded = torch.tensor([row + [PAD] * (task.completion_length - len(row)) for row in ended])
    expected = split.reward(torch.tensor(which), padded).tolist()

    reward = Counted(TaskReward(name, kind, hf_tokenizer(vocabulary), {EOS}))
    found = reward(
        prompts=[examples[i].prompt for i in which],
        completions=[""] * len(which),
        completion_ids=ended,
        answer=[examples[i].answer for i in which],
        index=which,
    )
    assert found == pytest.approx(expected, abs=1e-7)
    assert reward.tokens == sum(map(len, ended))
    levels = {round(r, 6) for r in found}
    assert {0.0, 1.0} <= levels
    steps = len(solution(task, examples[0].prompt).steps)
    assert (len(levels) > 2) == (kind == "graded" and steps >= 1)
