"""The reward that trainers compute on token ids is `TextTask.check` on the text, to the last case."""

from __future__ import annotations

import random
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jfhpo.tasks.last_digit import LastDigit
from jfhpo.tasks.text_task import Example, TextTask
from jfhpo.trainers.mini.vocabulary import EOS, PAD, Vocabulary


class LongAnswers(LastDigit):
    """Answers of one to three characters, so that a batch has to pad them."""

    name: ClassVar[str] = "long_answers"


VOCABULARY = Vocabulary(LongAnswers())
EXAMPLES = [Example("1+1+1=".rjust(10), "3"), Example("2+2+2=".rjust(10), "46"), Example("3*3*3=".rjust(10), "127")]
SPLIT = VOCABULARY.batch(EXAMPLES)
LENGTH = 12


def as_sampled(text: str, ended: bool) -> list[int]:
    """Token ids as a trainer samples them: cut at the length limit, padded after end-of-sequence."""
    ids = [*VOCABULARY.encode(text), *([EOS] if ended else [])][:LENGTH]
    return ids + [PAD] * (LENGTH - len(ids))


def completion(rng: random.Random) -> tuple[int, str, bool]:
    """(example, text, ended): any text, or one close to right, so that both rewards are met often."""
    which = rng.randrange(len(EXAMPLES))
    text = "".join(rng.choices("1234567##,", k=rng.randint(0, LENGTH)))
    if rng.random() < 0.6:
        answer = EXAMPLES[which].answer
        near = rng.choice(
            [answer, answer, answer, answer, answer + ",", answer[:-1], "#" + answer, answer + "#", answer[::-1]]
        )
        room = LENGTH - 1 - len(near) - rng.choice([0, 1, 1, 2, 6])  # 0: end-of-sequence no longer fits
        text = text.replace("#", "")[: max(room, 0)] + "#" + near
    return which, text, rng.random() < 0.8


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_reward_on_tokens_is_the_reward_on_text(seed):
    rng = random.Random(seed)
    batch = [completion(rng) for _ in range(150)]
    tokens = torch.tensor([as_sampled(work, ended) for _, work, ended in batch])
    rewards = SPLIT.reward(torch.tensor([which for which, _, _ in batch]), tokens)
    decoded = [VOCABULARY.decode(row.tolist()) for row in tokens]
    expected = [
        TextTask.check(text, EXAMPLES[which].answer, ended)
        for (which, _, _), (text, ended) in zip(batch, decoded, strict=True)
    ]
    assert rewards.tolist() == expected
    assert 0.05 < rewards.mean() < 0.95, "both rewards have to be met, or nothing was compared"


@pytest.mark.parametrize(
    ("text", "ended", "reward"),
    [
        ("1+2=3,4+5#3", True, 1.0),  # end-of-sequence is the very last token
        ("1+2=3,4+5##3", False, 0.0),
        ("1+2=3,4+5,#3", False, 0.0),  # the answer is there, end-of-sequence would be one too late
        ("1+2=3,4+5,6#", False, 0.0),  # the mark is the last token
        ("1+2=3,4+5,#", True, 0.0),  # the mark, then end-of-sequence
        ("", True, 0.0),
    ],
)
def test_the_reward_at_the_length_limit(text, ended, reward):
    row = as_sampled(text, ended)
    assert len(row) == LENGTH
    assert SPLIT.reward(torch.tensor([0]), torch.tensor([row])).tolist() == [reward]


def test_completions_may_be_shorter_than_the_longest_answer():
    tokens = torch.tensor([[*VOCABULARY.encode("#3"), EOS], [*VOCABULARY.encode("#12")]])
    assert SPLIT.reward(torch.tensor([0, 2]), tokens).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("ids", [["#", PAD, "3", EOS], ["#", "3", PAD, EOS], [PAD, "#", "3", EOS]])
def test_a_padding_token_that_the_policy_sampled_counts_alike_for_both(ids):
    """Nothing keeps a policy from sampling padding before it ends."""
    row = [VOCABULARY.id_of[i] if isinstance(i, str) else i for i in ids]
    text, ended = VOCABULARY.decode(row)
    on_tokens = SPLIT.reward(torch.tensor([0]), torch.tensor([row])).item()
    assert on_tokens == TextTask.check(text, "3", ended)


def test_text_comes_back_from_its_tokens():
    text = "2-4=8,8*4=2#2"
    assert VOCABULARY.decode([*VOCABULARY.encode(text), EOS, PAD, PAD]) == (text, True)
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == (text, False)
    assert VOCABULARY.decode([EOS]) == ("", True)


def test_the_vocabulary_is_the_alphabet_and_two_special_tokens():
    assert len(VOCABULARY) == len(LastDigit.alphabet) + 2
    assert sorted(VOCABULARY.id_of.values()) == list(range(len(VOCABULARY)))
