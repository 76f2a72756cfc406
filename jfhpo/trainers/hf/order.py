"""The order in which training rows come, the same for every engine and for all configurations of a seed."""

from __future__ import annotations


def dealt(rows: int, steps: int, each: int, seed: int) -> list[list[int]]:
    """The rows of every step of the whole horizon: permutation after permutation, dealt in steps of `each` (what fills
    no step is left out), as the miniature trainer deals them."""
    import torch

    from jfhpo.trainers.mini.grpo import PromptOrder

    order = PromptOrder(rows, torch.Generator().manual_seed(2 * seed))
    return [order.next(each).tolist() for _ in range(steps)]
