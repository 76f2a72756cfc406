"""GRPOVI as an advantage estimator of verl 0.9.1 (``algorithm.adv_estimator=grpovi``).

verl hands a registered estimator rewards, mask, group index and its own settings, but not the reference's
log-probabilities, which lie in the same batch. `register` therefore also wraps verl's `compute_advantage`, so that they
are at hand while an estimator runs; nothing else of it changes. It has to run in the process that computes advantages,
verl's task runner, before training starts::

    from jfhpo.trainers.verl.grpovi import register
    register()

Settings, in the words of verl's command line (the bounds have no default: they are the range of your reward)::

    algorithm.adv_estimator=grpovi +algorithm.grpovi.low=0 +algorithm.grpovi.high=1 +algorithm.grpovi.ties=equal
    actor_rollout_ref.actor.use_kl_loss=True      # or verl has no reference policy
"""

from __future__ import annotations

import functools
import importlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from jfhpo.core.errors import UsageError
from jfhpo.core.optional import optional
from jfhpo.tasks.grpovi import EQUAL
from jfhpo.trainers.grpovi import adjusted_rewards

NAME = "grpovi"
HOLDERS = ("verl.trainer.ppo.ray_trainer", "verl.trainer.ppo.v1.utils")
"""verl's modules that hold a name `compute_advantage` which its trainers call."""

_reference: ContextVar[Tensor | None] = ContextVar("reference_log_prob", default=None)


def compute_grpovi_outcome_advantage(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: Sequence[object],
    epsilon: float = 1e-6,
    norm_adv_by_std_in_grpo: bool | None = None,
    config: Mapping[str, Any] | None = None,
    ref_log_prob: Tensor | None = None,
    **unused: Any,
) -> tuple[Tensor, Tensor]:
    """As verl's `compute_grpo_outcome_advantage`, of adjusted rewards: advantages and returns, each (bs, length).

    Args:
        token_level_rewards, response_mask: (bs, length); a response's reward is the sum over its tokens.
        index: (bs,), equal for the responses of one prompt; groups may differ in size.
        norm_adv_by_std_in_grpo: as verl's; where it is None, `config` decides, and else it is true.
        config: verl's ``algorithm`` settings, with a group ``grpovi``: low, high, ties.
        ref_log_prob: (bs, length), log π_ref of every token; by default those of the batch that verl is working on.

    Raises:
        UsageError: without bounds or without a reference policy.
        ValueError: for a reward that is NaN or outside the bounds, with the place of its group in the batch.
    """
    config = config if config is not None else {}
    own = config.get(NAME) or {}
    low, high = own.get("low"), own.get("high")
    if low is None or high is None:
        raise UsageError(
            f"algorithm.{NAME}.low={low} and algorithm.{NAME}.high={high} must be the bounds of the reward; add "
            f"+algorithm.{NAME}.low=… +algorithm.{NAME}.high=…"
        )
    if ref_log_prob is None:
        ref_log_prob = _reference.get()
    if ref_log_prob is None:
        raise UsageError(
            f"algorithm.adv_estimator={NAME} needs the reference's log-probabilities: set "
            "actor_rollout_ref.actor.use_kl_loss=True, and call jfhpo.trainers.verl.grpovi.register() before training"
        )
    by_std = config.get("norm_adv_by_std_in_grpo", True) if norm_adv_by_std_in_grpo is None else norm_adv_by_std_in_grpo
    with torch.no_grad():
        rewards = token_level_rewards.sum(-1)
        logp = (ref_log_prob.double() * response_mask).sum(-1)
        scores = torch.zeros_like(rewards)
        for rows in _groups_by_size(index):
            at = torch.tensor(rows, device=rewards.device)  # (groups of this size, size)
            z = adjusted_rewards(rewards[at], logp[at], low, high, own.get("ties", EQUAL))
            if at.shape[1] > 1:  # of a single response verl keeps the reward as it is
                centred = z - z.mean(1, keepdim=True)
                z = centred / (z.std(1, keepdim=True) + epsilon) if by_std else centred
            scores[at] = z
        advantages = scores.unsqueeze(-1) * response_mask
    return advantages, advantages


def _groups_by_size(index: Sequence[object]) -> list[list[list[int]]]:
    """The rows of every group, groups of one size together: one call for each size."""
    groups: dict[object, list[int]] = defaultdict(list)
    for row, group in enumerate(index):
        groups[group].append(row)
    sizes: dict[int, list[list[int]]] = defaultdict(list)
    for rows in groups.values():
        sizes[len(rows)].append(rows)
    return list(sizes.values())


def with_reference(compute_advantage: Callable[..., Any]) -> Callable[..., Any]:
    """verl's function, with the reference's log-probabilities of its batch at hand for `NAME`."""

    @functools.wraps(compute_advantage)
    def computed(data: Any, *arguments: Any, **settings: Any) -> Any:
        held = _reference.set(data.batch.get("ref_log_prob", None))
        try:
            return compute_advantage(data, *arguments, **settings)
        finally:
            _reference.reset(held)

    return computed


def register() -> None:
    """Make ``algorithm.adv_estimator=grpovi`` known to verl in this process. Doing it twice changes nothing."""
    core_algos = optional("verl.trainer.ppo.core_algos", "verl", "GRPOVI as verl's advantage estimator")
    core_algos.register_adv_est(NAME)(compute_grpovi_outcome_advantage)
    for holder in HOLDERS:
        module = importlib.import_module(holder)
        if not hasattr(module.compute_advantage, "__wrapped__"):
            module.compute_advantage = with_reference(module.compute_advantage)
