"""Where the tokens of several trials lie among the rows that are computed.

A product with weights wants the rows of each trial beside its weights, (G, R, d) times (G, d, w) for G trials;
attention knows no weights and wants all rows in one list. `Grid` goes from one to the other. Rows that only fill a grid
up are zero and never leave it, so no number of one trial, NaN included, reaches another.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor


def on(device: torch.device, values: np.ndarray) -> Tensor:
    """An array as a tensor there; the copy is not waited for."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)


class Grid:
    """A list of rows, each of some group, as (G, R): R is the size of the largest group.

    `group` (rows,) holds numbers below `groups`; a group's rows keep their order.
    """

    def __init__(self, group: np.ndarray, groups: int, device: torch.device):
        counts = np.bincount(group, minlength=groups)
        self.groups, self.size = groups, int(counts.max())
        order = np.argsort(group, kind="stable")
        slots = np.empty(len(group), dtype=np.int64)
        slots[order] = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
        slots += group * self.size
        full = len(group) == groups * self.size and bool((slots == np.arange(len(group))).all())
        self.slots = None if full else on(device, slots)
        self.counts = on(device, counts)

    def rows(self, grid: Tensor) -> Tensor:
        """(G, R, …) -> (rows, …)."""
        flat = grid.flatten(0, 1)
        return flat if self.slots is None else flat.index_select(0, self.slots)

    def fill(self, rows: Tensor) -> Tensor:
        """(rows, …) -> (G, R, …), zero where there is no row."""
        if self.slots is not None:
            empty = rows.new_zeros(self.groups * self.size, *rows.shape[1:])
            rows = empty.index_copy(0, self.slots, rows)
        return rows.unflatten(0, (self.groups, self.size))

    def mean(self, values: Tensor) -> Tensor:
        """Mean over each group: (rows,) -> (G,), always summed in the same order."""
        return self.fill(values).sum(1) / self.counts


class Reading:
    """Which of G models reads which row, and which real completion token it predicts."""

    def __init__(self, rows: np.ndarray, tokens: np.ndarray, groups: int, device: torch.device):
        self.groups = groups
        self.rows, self.tokens = Grid(rows, groups, device), Grid(tokens, groups, device)
        self.model = on(device, rows)
        self.model_of_token = on(device, tokens)


class Rows:
    """The rows of one pass over Q prompts of P tokens and N completions, those of several trials together.

    As in `jfhpo.trainers.mini.model.Packing` rows are the Q·P prompt tokens, then every completion token that another
    one follows; but prompts may differ in their number of rollouts, and belong to trials. `prompt_of` (N,) is the
    prompt of each completion and `trial_of` (Q,) the trial of each prompt, of `trials`.
    """

    def __init__(
        self,
        prompts: np.ndarray,
        completions: np.ndarray,
        mask: np.ndarray,
        prompt_of: np.ndarray,
        trial_of: np.ndarray,
        trials: int,
        device: torch.device,
    ):
        (Q, P), (N, C) = prompts.shape, completions.shape
        self.Q, self.P, self.N, self.C = Q, P, N, C - 1
        followed = mask[:, 1:]
        kept = followed.reshape(-1).nonzero()[0]  # row -> place in the padded (N, C − 1) grid
        rollout = kept // max(self.C, 1)
        positions = np.concatenate([np.tile(np.arange(P), Q), P + kept % max(self.C, 1)])
        tokens = np.concatenate([prompts.reshape(-1), completions[:, :-1].reshape(-1)[kept]])
        # The row whose hidden state predicts each real token: the prompt's last for a first token, else the one before.
        before = np.empty((N, C), dtype=np.int64)
        before[:, 0] = prompt_of * P + P - 1
        before[:, 1:][followed] = Q * P + np.arange(len(kept))
        self._trial_of_rows = np.concatenate([np.repeat(trial_of, P), trial_of[prompt_of[rollout]]])
        self._trial_of_tokens = trial_of[prompt_of].repeat(mask.sum(1))
        self._trials, self._device = trials, device
        self.tokens, self.positions, self.kept = on(device, tokens), on(device, positions), on(device, kept)
        self.predictors, self.targets = on(device, before[mask]), on(device, completions[mask])
        self.prompt_of = on(device, prompt_of)
        self.visible = torch.ones(self.C, P + self.C, dtype=torch.bool, device=device).tril(P)

    @cached_property
    def by_trial(self) -> Reading:
        """Each trial's rows read by its own model."""
        return Reading(self._trial_of_rows, self._trial_of_tokens, self._trials, self._device)

    @cached_property
    def together(self) -> Reading:
        """All rows read by one model."""
        return Reading(np.zeros_like(self._trial_of_rows), np.zeros_like(self._trial_of_tokens), 1, self._device)
