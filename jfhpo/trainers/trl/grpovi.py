"""GRPOVI in TRL's `GRPOTrainer`, 1.14 to 1.16: a mixin that replaces the advantages by those of adjusted rewards.

    from trl import GRPOConfig, GRPOTrainer

    class GRPOVITrainer(GRPOVI, GRPOTrainer):
        pass

    GRPOVITrainer(model=…, args=GRPOConfig(beta=0.04, …), reward_bounds=(0.0, 1.0), …).train()

TRL computes rewards, advantages and the reference's log-probabilities in one method, and returns the latter two. The
mixin keeps the rewards as they are computed, and makes the advantages anew from what the method returns. All that is
logged of rewards is of the unadjusted ones. π_ref is at the temperature of the trainer, as everywhere in TRL.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks.grpovi import EQUAL, TIES, check_bounds
from jfhpo.trainers.grpovi import adjusted_rewards

STD_EPS = 1e-4  # TRL's


class GRPOVI:
    """Goes before `trl.GRPOTrainer` in a class's bases.

    Args:
        reward_bounds: m and M, the range of the (weighted) sum of the reward functions.
        grpovi_ties: what becomes of equal rewards (`jfhpo.tasks.grpovi.TIES`).

    Raises:
        UsageError: for settings of TRL under which there is no reference, or no advantage by group.
        ValueError: in training, for a reward that is missing, NaN or outside the bounds, with its group and index.
    """

    def __init__(self, *args: Any, reward_bounds: tuple[float, float], grpovi_ties: str = EQUAL, **kwargs: Any):
        check_bounds(*reward_bounds)
        if grpovi_ties not in TIES:
            raise unknown("GRPOVI ties", grpovi_ties, TIES)
        super().__init__(*args, **kwargs)
        if self.beta == 0.0:
            raise UsageError("beta=0.0: TRL then has no reference model, which GRPOVI needs; set beta above 0")
        if self.scale_rewards not in ("group", "none"):
            raise UsageError(f"scale_rewards={self.scale_rewards!r} must be 'group' or 'none' with GRPOVI")
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise UsageError(
                f"multi_objective_aggregation={self.multi_objective_aggregation!r} must be 'sum_then_normalize' with "
                "GRPOVI, which adjusts one reward a completion"
            )
        if self.mask_truncated_completions:
            raise UsageError(
                "mask_truncated_completions=True leaves no probability of a truncated completion; GRPOVI needs all"
            )
        self.reward_bounds, self.grpovi_ties = reward_bounds, grpovi_ties
        self._rewards_per_func: Tensor | None = None

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        """(completions of all processes, reward functions)."""
        self._rewards_per_func = super()._calculate_rewards(*args, **kwargs)
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        n = self.num_generations if self.model.training else self.num_generations_eval
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        logp = self.accelerator.gather((output["ref_per_token_logps"].double() * mask).sum(1))  # of all processes
        per_func = self._rewards_per_func
        rewards = (per_func * self.reward_weights.to(per_func.device)).nansum(1)
        rewards = rewards.masked_fill(per_func.isnan().all(1), torch.nan)  # nobody scored it: refused below
        z = adjusted_rewards(rewards.view(-1, n), logp.view(-1, n), *self.reward_bounds, ties=self.grpovi_ties)
        advantages = z - z.mean(1, keepdim=True)
        if self.scale_rewards == "group" and n > 1:
            advantages = advantages / (z.std(1, keepdim=True) + STD_EPS)
        advantages = advantages.view(-1)
        logged = self._logs["advantages"]
        for _ in range(min(len(advantages), len(logged))):
            logged.pop()
        logged.extend(advantages.tolist())
        mine = len(output["advantages"])
        first = self.accelerator.process_index * mine
        output["advantages"] = advantages[first : first + mine].to(output["advantages"].dtype)
        return output
