"""The reward on token ids is the exact-match check on text."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from jfhpo.tasks.text_task import TextTask
from jfhpo.trainers.mini.vocabulary import EOS, PAD
from tests.trainers.mini.tiny import SPLITS, TASK, VOCABULARY, encoded

DATA = encoded("train")
ids = st.integers(2, len(VOCABULARY) - 1)
mark = VOCABULARY.answer_mark


@st.composite
def completions(draw):
    """Text likely to be right or nearly right, cut at some length, with or without end-of-sequence."""
    which = draw(st.integers(0, len(DATA) - 1))
    answer = VOCABULARY.encode(SPLITS["train"][which].answer)
    work = draw(st.lists(ids, max_size=6))
    tail = draw(st.one_of(st.just(answer), st.lists(ids, max_size=3)))
    row = [*work, *draw(st.lists(st.just(mark), max_size=2)), *tail]
    row = [*row, *draw(st.lists(st.just(EOS), max_size=1))]
    width = draw(st.integers(1, len(row) + 3))
    return which, (row + [PAD] * width)[:width]


@given(completions())
def test_reward_on_ids_is_the_check_on_text(drawn):
    which, row = drawn
    text, ended = VOCABULARY.decode(row)
    expected = TextTask.check(text, SPLITS["train"][which].answer, ended)
    assert DATA.reward(torch.tensor([which]), torch.tensor([row])).tolist() == [expected]


def test_worked_solutions_are_rewarded_and_their_neighbours_are_not():
    for i, example in enumerate(SPLITS["train"][:16]):
        wrong = str((int(example.answer) + 1) % 10)
        texts = [
            f"1+1=2#{example.answer}",
            f"#{wrong}",
            f"#{example.answer}#",
            f"#{example.answer}1",
            f"1{example.answer}",
        ]
        rows = VOCABULARY.pad(texts, TASK.completion_length)
        assert DATA.reward(torch.full((5,), i), rows).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
        unfinished = rows[:1].masked_fill(rows[:1] == EOS, PAD)
        assert DATA.reward(torch.tensor([i]), unfinished).tolist() == [0.0]


def test_completions_shorter_than_any_answer_are_wrong_not_an_error():
    assert DATA.reward(torch.arange(3), torch.tensor([[mark], [EOS], [5]])).tolist() == [0.0] * 3
