"""Pairs of prompt and response as token ids, and a model's loss on the responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy

from jfhpo.tasks.instructions.material import Pair

IGNORED = -100
"""The label of a token that no loss is taken on."""
BATCH = 256
"""Pairs per forward pass when a loss is measured, at the most."""


def encoded(tokenizer: Any, pairs: Sequence[Pair], max_length: int) -> Dataset:
    """``input_ids``, and ``labels`` that are `IGNORED` on the prompt: the loss is on response and end-of-sequence.

    Prompt and response are tokenised apart, so that no token lies across the border. What is longer than `max_length`
    tokens is cut at its end.
    """
    special = tokenizer.bos_token_id
    prompts, responses = (
        tokenizer(list(texts), add_special_tokens=False)["input_ids"] for texts in zip(*pairs, strict=True)
    )
    ids, labels = [], []
    for prompt, response in zip(prompts, responses, strict=True):
        prompt = prompt if special is None else [special, *prompt]
        response = [*response, tokenizer.eos_token_id]
        ids.append([*prompt, *response][:max_length])
        labels.append([*([IGNORED] * len(prompt)), *response][:max_length])
    return Dataset.from_dict({"input_ids": ids, "labels": labels})


@torch.no_grad()
def response_loss(model: Any, pairs: Dataset, batch: int) -> tuple[float, int, int]:
    """Mean negative log-likelihood per response token in nats, the response tokens, and the tokens read.

    Whoever trains the model finds its mode and its random state as they were.
    """
    was_training = model.training
    model.eval()
    total, learned, read = torch.zeros((), dtype=torch.float64), 0, 0
    try:
        for at in range(0, len(pairs), min(batch, BATCH)):
            rows = pairs[at : at + min(batch, BATCH)]
            ids, labels, mask = (_padded(rows, name, fill).to(model.device) for name, fill in _COLUMNS)
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
            wanted = labels[:, 1:]
            total += cross_entropy(
                logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
            ).double().cpu()  # fmt: skip
            learned += int((wanted != IGNORED).sum())
            read += int(mask.sum())
    finally:
        model.train(was_training)
    return float(total) / learned, learned, read


_COLUMNS = (("input_ids", 0), ("labels", IGNORED), (None, 0))
"""Column and what it is padded with on the right; None is the mask of what is not padding."""


def _padded(rows: dict[str, list[list[int]]], column: str | None, fill: int) -> torch.Tensor:
    values = rows[column] if column else [[1] * len(ids) for ids in rows["input_ids"]]
    longest = max(map(len, values))
    return torch.tensor([value + [fill] * (longest - len(value)) for value in values])
