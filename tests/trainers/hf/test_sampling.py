"""Completions for evaluation, on a miniature model: whole batches, halved where memory runs out."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from jfhpo.tasks.datasets import load
from jfhpo.trainers.hf.run import tokenizer_of
from jfhpo.trainers.hf.sampling import Batch, draw

PROMPTS = 11


@pytest.fixture
def read(guessing_base):
    """A model, its tokenizer and prompts in tokens."""
    tokenizer = tokenizer_of(str(guessing_base))
    rows = load("last_digit").splits["validation"][:PROMPTS]
    return (
        AutoModelForCausalLM.from_pretrained(guessing_base),
        tokenizer,
        tokenizer([r.prompt for r in rows])["input_ids"],
    )


def short_of_memory(model, most, monkeypatch) -> list[int]:
    """Let a call of `generate` take at most so many prompts; returns how many each was given."""
    given, generate = [], model.generate

    def checked(input_ids, **named):
        given.append(len(input_ids))
        if len(input_ids) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return generate(input_ids=input_ids, **named)

    monkeypatch.setattr(model, "generate", checked)
    return given


def test_where_memory_runs_out_batches_are_halved_for_good_and_greedy_answers_are_the_same(read, monkeypatch):
    whole = draw(*read, 12, None, Batch(8))
    given, batch = short_of_memory(read[0], 3, monkeypatch), Batch(8)
    assert draw(*read, 12, None, batch) == whole
    assert given == [8, 4, 2, 2, 2, 2, 2, 1] and batch.size == 2
    given.clear()
    draw(*read, 12, None, batch)
    assert given == [2, 2, 2, 2, 2, 1]


def test_memory_for_not_even_one_is_an_error(read, monkeypatch):
    given = short_of_memory(read[0], 0, monkeypatch)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        draw(*read, 12, None, Batch(4))
    assert given == [4, 2, 1]
