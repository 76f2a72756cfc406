"""Completions of a Hugging Face model for evaluation: exactly temperature 1 or greedy, whatever its folder suggests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

BATCH = 256
"""Prompts per call of `generate`."""


@torch.no_grad()
def draw(model: Any, tokenizer: Any, prompts: Sequence[Any], longest: int, seed: int | None) -> tuple[list[str], int]:
    """One completion per prompt, of at most `longest` tokens, and the number of tokens sampled in all.

    Sampled at temperature 1 from the whole distribution with a stream of its own, or greedily where `seed` is None.
    The random state of whoever trains the model is left as it was.

    Args:
        prompts: texts, or conversations (lists of messages) for a tokenizer with a chat template.
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
            for at in range(0, len(prompts), BATCH):
                read = _encoded(tokenizer, prompts[at : at + BATCH]).to(model.device)
                out = model.generate(**read, generation_config=settings)[:, read["input_ids"].shape[1] :]
                ended = (out == tokenizer.eos_token_id).cumsum(1)
                tokens += int(((ended - (out == tokenizer.eos_token_id).long()) == 0).sum())  # up to the first end
                texts += tokenizer.batch_decode(out, skip_special_tokens=True)
    finally:
        model.train(was_training)
    return texts, tokens


def _encoded(tokenizer: Any, prompts: Sequence[Any]) -> Any:
    """Input ids and attention mask, padded on the left."""
    if isinstance(prompts[0], str):
        return tokenizer(
            list(prompts), return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
    return tokenizer.apply_chat_template(
        list(prompts), add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True,
        tokenizer_kwargs={"padding_side": "left"},
    )  # fmt: skip


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
