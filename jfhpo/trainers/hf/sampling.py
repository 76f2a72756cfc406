"""Completions of a Hugging Face model for evaluation: exactly temperature 1 or greedy, whatever its folder suggests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig


@dataclass
class Batch:
    """How many prompts a call of `generate` is given; once GPU memory has run out, half as many from then on."""

    size: int


@torch.no_grad()
def draw(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], longest: int, seed: int | None, batch: Batch
) -> tuple[list[str], int]:
    """One completion per prompt, of at most `longest` tokens, and the number of tokens sampled in all.

    Sampled at temperature 1 from the whole distribution with a stream of its own, or greedily where `seed` is None.
    The random state of whoever trains the model is left as it was.

    Args:
        prompts: token ids, as the model was trained on.
    """
    was_training = model.training
    model.eval()
    # A folder's own generation_config.json may cut the distribution or punish repetition.
    whole = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    settings = GenerationConfig(
        max_new_tokens=longest,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **({"do_sample": False} if seed is None else whole),
    )
    texts, tokens = [], 0
    try:
        with torch.random.fork_rng():
            if seed is not None:
                torch.manual_seed(seed)
            at = 0
            while at < len(prompts):
                ids = {"input_ids": [list(prompt) for prompt in prompts[at : at + batch.size]]}
                read = tokenizer.pad(ids, padding_side="left", return_tensors="pt").to(model.device)
                try:
                    out = model.generate(**read, generation_config=settings)[:, read["input_ids"].shape[1] :]
                except torch.cuda.OutOfMemoryError:
                    if batch.size == 1:
                        raise
                    batch.size //= 2
                    torch.cuda.empty_cache()
                    continue
                at += len(out)
                ended = (out == tokenizer.eos_token_id).cumsum(1)
                tokens += int(((ended - (out == tokenizer.eos_token_id).long()) == 0).sum())  # up to the first end
                texts += tokenizer.batch_decode(out, skip_special_tokens=True)
    finally:
        model.train(was_training)
    return texts, tokens


Answers = tuple[list[float], int]
"""How right each prompt was answered, and the tokens sampled."""


def answered(
    answers: Callable[[int | None], Answers], k: int, seed: int, greedy: bool
) -> tuple[list[tuple[float, ...]], list[float] | None, int]:
    """What `jfhpo.trainers.hf.report.accuracy` is told of k draws, and of greedy decoding where it is asked for, and
    the tokens that all of them took.

    Args:
        answers: of a seed, or greedy ones of None.
        seed: of the evaluation; draw i of a seed is the same for every k.
    """
    draws = [answers(1_000_003 * seed + number) for number in range(k)]
    best, tokens = answers(None) if greedy else (None, 0)
    return list(zip(*(right for right, _ in draws), strict=True)), best, tokens + sum(drawn for _, drawn in draws)
