"""Sampling for many trials at once, with the numbers that each would draw alone.

A trial's generator is asked for one number per row and token of the vocabulary at every decoding step, and rows leave
by a rule (`jfhpo.trainers.mini.sampling.DROP_BELOW`): which rows a trial on its own would still have decides what it
draws. So that is kept account of, trial by trial, beside the rows that are computed here, which leave once enough of
all of them have ended. The generators stay on the CPU: the numbers are the same on every device, and are drawn while a
GPU is still at the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jfhpo.trainers.mini.kernels import rotate
from jfhpo.trainers.mini.packed.layout import Grid, on
from jfhpo.trainers.mini.packed.model import Policies
from jfhpo.trainers.mini.sampling import DROP_BELOW


@dataclass(frozen=True)
class PackedCompletions:
    """Rollouts of all trials, trial by trial; those of one prompt are neighbours."""

    tokens: Tensor
    """(N, C) on the CPU, padded after end-of-sequence."""
    mask: np.ndarray
    """(N, C) bool, true up to and including end-of-sequence."""
    logp: Tensor
    """(N, C) on the device: log-probability of each token under the policy that sampled it; 0 on padding and when
    greedy."""


class Noise:
    """Exponential clocks for the rows of all trials, from each trial's own generator."""

    def __init__(self, trial_of: np.ndarray, generators: Sequence[torch.Generator], vocabulary: int, like: Tensor):
        """`trial_of` (N,) is the trial of each rollout; the numbers are of the kind of `like` and on its device."""
        self.trial_of, self.generators, self.device = trial_of, generators, like.device
        self.drawing = np.ones(len(trial_of), dtype=bool)
        """Rollouts that are still rows of a trial on its own."""
        pinned = like.device.type == "cuda"
        self.drawn = torch.empty(len(trial_of), vocabulary, dtype=like.dtype, pin_memory=pinned)

    def next(self, rollouts: np.ndarray) -> Tensor:
        """The numbers for these rollouts (rows,) at this step: (rows, V). Those of a rollout that has ended are any."""
        start = 0
        for generator, count in zip(self.generators, self._counts(self.drawing), strict=True):
            if count:
                self.drawn[start : start + count].exponential_(generator=generator)
            start += count
        drawn = self.drawn[:start].to(self.device, non_blocking=True)
        if start == len(rollouts) and self.drawing[rollouts].all():
            return drawn
        place = (np.cumsum(self.drawing) - 1).clip(min=0)
        return drawn.index_select(0, on(self.device, place[rollouts]))

    def leave(self, ended: np.ndarray) -> None:
        """Rows leave each trial as they would leave it on its own: `ended` (N,)."""
        few = self._counts(~ended) < DROP_BELOW * self._counts(self.drawing)
        self.drawing &= ~(ended & few[self.trial_of])

    def _counts(self, chosen: np.ndarray) -> np.ndarray:
        return np.bincount(self.trial_of[chosen], minlength=len(self.generators))


def sample(
    policies: Policies,
    prompts: Tensor,
    n: Sequence[int],
    max_tokens: int,
    *,
    eos: int,
    pad: int,
    generators: Sequence[torch.Generator] | None,
) -> PackedCompletions:
    """Completions of every trial's own prompts (G, B, P), `n` (G) for each of a trial's prompts, at temperature 1 from
    its generator, or greedy without generators."""
    with torch.inference_mode():
        tokens, mask, logp = _sample(policies, prompts, np.asarray(n), max_tokens, eos, pad, generators)
        tokens, mask = tokens.cpu(), mask.cpu().numpy()
    return PackedCompletions(tokens.clone(), mask, logp.clone())  # ordinary tensors, which autograd may use


def _sample(
    policies: Policies,
    prompts: Tensor,
    n: np.ndarray,
    max_tokens: int,
    eos: int,
    pad: int,
    generators: Sequence[torch.Generator] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    (G, B, P), device, shape = prompts.shape, policies.head.device, policies.shape
    d, H, h = shape.width, shape.heads, shape.head_dim
    trial_of = np.repeat(np.arange(G), B * n)
    N, length = len(trial_of), P + max_tokens
    prompt_of = on(device, np.repeat(np.arange(G * B), np.repeat(n, B)))

    # The prompt is read once; its keys and values are copied to its rollouts.
    x = policies.embed(prompts.reshape(-1), torch.arange(G, device=device).repeat_interleave(B * P))
    x, rotation = x.view(G, B * P, d), policies.rotation[:P].repeat(G * B, 1, 1, 1)
    caches = []  # per layer: keys and values, each (rows, H, length, h)
    for layer in policies.layers:
        qkv = rotate(layer.project(x).view(-1, 3, H, h), rotation).view(G * B, P, 3, H, h).permute(2, 0, 3, 1, 4)
        cache = x.new_empty(2, N, H, length, h)
        cache[:, :, :, :P] = qkv[1:].index_select(1, prompt_of)
        caches.append(cache)
        out = F.scaled_dot_product_attention(*qkv, is_causal=True)  # (G·B, H, P, h)
        x = layer.finish(x, out.transpose(1, 2).reshape(G, B * P, d))
    x = x.view(G * B, P, d)[:, -1].index_select(0, prompt_of)

    tokens = torch.full((N, max_tokens), pad, dtype=torch.long, device=device)
    mask = torch.zeros(N, max_tokens, dtype=torch.bool, device=device)
    logp = x.new_zeros(N, max_tokens)
    noise = None if generators is None else Noise(trial_of, generators, shape.vocabulary, x)
    running = np.arange(N)  # rollout of each row of x and of the caches
    rows, group, grid = on(device, running), on(device, trial_of), Grid(trial_of, G, device)
    ended, x = torch.zeros(N, dtype=torch.bool, device=device), grid.fill(x)
    over = np.zeros(N, dtype=bool)  # rollouts that have ended
    for t in range(max_tokens):
        logits = grid.rows(policies.logits(x))
        if noise is None:
            token = logits.argmax(-1)
        else:
            scores = F.log_softmax(logits, -1)
            # An exponential race: the first of exponential clocks with rates p is a draw from p.
            token = (scores.exp() / noise.next(running)).argmax(-1)
            logp[rows, t] = scores.gather(-1, token[:, None]).squeeze(-1).masked_fill(ended, 0.0)
        tokens[rows, t] = token.masked_fill(ended, pad)
        mask[rows, t] = ~ended
        ended = ended | (token == eos)
        over[running] = ended.cpu().numpy()
        alive = int((~over).sum())
        if alive == 0 or t + 1 == max_tokens:
            break
        if noise is not None:
            noise.leave(over)
        if alive < DROP_BELOW * len(running):
            left = on(device, (~over[running]).nonzero()[0])
            running = running[~over[running]]
            rows, group, token, ended = rows[left], group[left], token[left], ended[left]
            caches = [cache[:, left] for cache in caches]
            grid = Grid(trial_of[running], G, device)
        x = _decode(policies, token, P + t, caches, grid, group)
    used = t + 1
    return tokens[:, :used], mask[:, :used], logp[:, :used]


def _decode(policies: Policies, token: Tensor, at: int, caches: list[Tensor], grid: Grid, group: Tensor) -> Tensor:
    """Final hidden states (G, R, d) of one token per row at position `at`; writes its keys and values."""
    rows, H, h = len(token), policies.shape.heads, policies.shape.head_dim
    x, rotation = grid.fill(policies.embed(token, group)), policies.rotation[at : at + 1]
    for layer, cache in zip(policies.layers, caches, strict=True):
        qkv = rotate(grid.rows(layer.project(x)).view(rows, 3, H, h), rotation)
        cache[:, :, :, at] = qkv[:, 1:].transpose(0, 1)
        seen = cache[..., : at + 1, :].flatten(1, 2)  # (2, rows·H, at + 1, h)
        weights = torch.bmm(seen[0], qkv[:, 0].reshape(-1, h, 1)).squeeze(-1).mul_(h**-0.5).softmax(-1)
        x = layer.finish(x, grid.fill(torch.bmm(weights.unsqueeze(1), seen[1]).view(rows, -1)))
    return x
