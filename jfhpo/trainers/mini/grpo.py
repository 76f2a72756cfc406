"""Group Relative Policy Optimization (Shao et al. 2024, arXiv 2402.03300, eq. 3), read top to bottom.

    J(θ) = E [ 1/M Σ_t min( ρ_t Â, clip(ρ_t, 1 − ε, 1 + ε) Â ) − β D_KL(π_θ ‖ π_ref) ]

Against the paper, as in verl's recipe: the mean runs over all M completion tokens of a minibatch, not per
completion first (token-mean loss); the KL penalty enters the loss with its k3 estimate ("low_var_kl").
What is left out of GRPO at this size: KL in the reward, entropy bonus, dual clip (inert at these ratios), LoRA.
With ``advantage: grpovi`` the rewards of a group are adjusted before they are standardised (`jfhpo.trainers.grpovi`).

Symbol        here
π_θ(o_t)      logp: log-probability of the token under the policy being trained
π_θ_old(o_t)  logp_old: under the policy that sampled it
π_ref(o_t)    logp_ref: under the frozen base model
Â             advantage: the rollout's reward, standardised within its group of n
ε             clip_ratio
β             kl_loss_coef
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks.grpovi import ADVANTAGES, EQUAL, TIES
from jfhpo.trainers.grpovi import adjusted_rewards
from jfhpo.trainers.mini.model import Packing, Transformer, token_logp
from jfhpo.trainers.mini.sampling import Completions, sample
from jfhpo.trainers.mini.vocabulary import EOS, PAD, EncodedSplit

REWARDS = ("exact", "graded")
ADVANTAGE_EPS = 1e-6  # verl's; TRL's is 1e-4


def group_advantages(rewards: Tensor, n: int) -> Tensor:
    """Â = (r − mean of the group) / standard deviation of the group: (N,) -> (N,). Zero where all n agree."""
    groups = rewards.view(-1, n)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred / (groups.std(1, keepdim=True) + ADVANTAGE_EPS)).view(-1)


def grpo_loss(
    logp: Tensor, logp_old: Tensor, logp_ref: Tensor, advantage: Tensor, clip_ratio: float, kl_loss_coef: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """−J(θ) on the M completion tokens of a minibatch; every argument (M,), the loss a scalar."""
    # fmt: off
    ratio = (logp - logp_old).exp()                                      # ρ_t = π_θ / π_θ_old
    clipped = ratio.clamp(1 - clip_ratio, 1 + clip_ratio)                # clip(ρ_t, 1 − ε, 1 + ε)
    surrogate = torch.minimum(ratio * advantage, clipped * advantage)    # min(ρ_t Â, clip(ρ_t) Â)
    delta = logp_ref - logp
    kl = delta.exp() - delta - 1                                         # k3 estimate of D_KL(π_θ ‖ π_ref) ≥ 0
    loss = (kl_loss_coef * kl - surrogate).mean()                        # mean over the M tokens
    # fmt: on
    with torch.no_grad():
        clip_fraction = (clipped * advantage < ratio * advantage).float().mean()
    return loss, {"kl": kl.detach().mean(), "clip_fraction": clip_fraction}


@dataclass(frozen=True)
class Hyperparameters:
    """What JF-HPO searches (paper_facts, part A), then what the VeRL recipe fixes."""

    lr: float
    lr_scheduler: str
    clip_ratio: float
    grad_clip: float
    kl_loss_coef: float
    rollout_n: int
    advantage: str = "grpo"
    """``grpo``, or ``grpovi``: rewards are first adjusted to a higher variance within their group."""

    def __post_init__(self) -> None:
        if self.advantage not in ADVANTAGES:
            raise unknown("hyperparameter value advantage", self.advantage, ADVANTAGES)


@dataclass(frozen=True)
class GRPOSettings:
    prompts_per_step: int = 16
    minibatches: int = 2
    epochs: int = 1
    """Passes over the rollouts of a step (PPO epochs)."""
    weight_decay: float = 0.01
    adam_betas: tuple[float, float] = (0.9, 0.999)
    max_steps: int = 50
    """Horizon of the learning-rate schedule: the problem's, never the trial's, so that resuming changes nothing."""
    reward: str = "exact"
    """What training is rewarded for: the exact answer, or ``graded``, every right working step (`jfhpo.tasks.graded`).
    Evaluation is always of the exact answer."""
    advantage: str = "grpo"
    """That of a configuration without this hyperparameter: ``grpo`` or ``grpovi``."""
    reward_bounds: tuple[float, float] = (0.0, 1.0)
    """GRPOVI's m and M; no reward may lie outside."""
    grpovi_ties: str = EQUAL
    """GRPOVI on equal rewards: they stay ``equal``, or their ``position`` in the group decides."""

    def __post_init__(self) -> None:
        for name, allowed in (("reward", REWARDS), ("advantage", ADVANTAGES), ("grpovi_ties", TIES)):
            if getattr(self, name) not in allowed:
                raise unknown(f"problem.trainer_settings.{name}", getattr(self, name), allowed)
        bounds = list(self.reward_bounds)
        numbers = len(bounds) == 2 and all(isinstance(b, int | float) and math.isfinite(b) for b in bounds)
        if not (numbers and bounds[0] <= 0 and bounds[1] >= 1):
            raise UsageError(
                f"problem.trainer_settings.reward_bounds={bounds} must be [m, M] with m ≤ 0 and M ≥ 1, "
                "the range of the tasks' rewards"
            )

    @classmethod
    def of(cls, given: Mapping[str, Any], max_steps: int) -> GRPOSettings:
        """From a problem's ``trainer_settings``; a `UsageError` for a name or value that is none."""
        known = [f.name for f in fields(cls) if f.name != "max_steps"]
        for name in given:
            if name not in known:
                raise unknown("setting of problem.trainer_settings", name, known)
        return cls(max_steps=max_steps, **given)


def scheduled_lr(hp: Hyperparameters, step: int, horizon: int) -> float:
    """Learning rate of `step` (from 0), no warm-up: constant, or half a cosine from lr to 0 at the horizon."""
    if hp.lr_scheduler == "cosine":
        return hp.lr * 0.5 * (1 + math.cos(math.pi * step / horizon))
    return hp.lr


class PromptOrder:
    """A fresh permutation of the prompts each epoch, dealt in batches."""

    def __init__(self, prompts: int, generator: torch.Generator):
        self.prompts, self.generator = prompts, generator
        self.order, self.at = torch.empty(0, dtype=torch.long), 0

    def next(self, count: int) -> Tensor:
        if self.at + count > len(self.order):
            self.order, self.at = torch.randperm(self.prompts, generator=self.generator), 0
        self.at += count
        return self.order[self.at - count : self.at]


def grpo_step(
    policy: Transformer,
    reference: Transformer,
    optimizer: torch.optim.Optimizer,
    data: EncodedSplit,
    order: PromptOrder,
    sampling: torch.Generator,
    hp: Hyperparameters,
    settings: GRPOSettings,
    step: int,
    max_tokens: int,
) -> dict[str, float]:
    """One step (counted from 0): sample, reward, advantages, then minibatch updates. Returns the step's metrics."""
    n, B = hp.rollout_n, settings.prompts_per_step
    which = order.next(B)
    prompts = data.prompts[which]
    rollouts = sample(policy, prompts, n, max_tokens, eos=EOS, pad=PAD, generator=sampling)
    rewards = data.reward(which.repeat_interleave(n), rollouts.tokens)
    adjusts, ref_logp = hp.advantage == "grpovi", None
    if adjusts:
        ref_logp = completion_logp(reference, prompts, rollouts)
        adjusted = adjusted_rewards(
            rewards.view(B, n), ref_logp.sum(1).view(B, n), *settings.reward_bounds, ties=settings.grpovi_ties
        )
        advantages = group_advantages(adjusted.view(-1), n)
    else:
        advantages = group_advantages(rewards, n)
    lr = scheduled_lr(hp, step, settings.max_steps)
    for group in optimizer.param_groups:
        group["lr"] = lr

    sums = dict.fromkeys(("loss", "kl", "clip_fraction", "entropy", "grad_norm"), 0.0)
    rows = torch.arange(B * n).view(B, n)
    for _ in range(settings.epochs):
        for part in torch.randperm(B, generator=order.generator).chunk(settings.minibatches):
            mine = rows[part].reshape(-1)
            mask = rollouts.mask[mine]
            packing = Packing(prompts[part], rollouts.tokens[mine], mask)
            if ref_logp is not None:
                logp_ref = ref_logp[mine][mask]
            else:
                with torch.no_grad():
                    logp_ref = token_logp(reference.completion_logits(packing), packing.targets)
            logits = policy.completion_logits(packing)
            advantage = advantages[mine].repeat_interleave(mask.sum(1))
            loss, metrics = grpo_loss(
                token_logp(logits, packing.targets), rollouts.logp[mine][mask], logp_ref, advantage,
                hp.clip_ratio, hp.kl_loss_coef,
            )  # fmt: skip
            loss.backward()
            grad_norm = torch.nn.utils.clip_grad_norm_([policy.flat], hp.grad_clip)
            optimizer.step()
            policy.flat.grad.zero_()
            metrics |= {"loss": loss.detach(), "grad_norm": grad_norm, "entropy": entropy(logits.detach())}
            for name, value in metrics.items():
                sums[name] += float(value)
    updates = settings.epochs * settings.minibatches
    tokens = int(rollouts.mask.sum())
    return {name: total / updates for name, total in sums.items()} | {
        "reward_mean": float(rewards.mean()),
        "completion_length": tokens / len(rewards),
        "learning_rate": lr,
        "tokens": tokens,
        "flops": step_flops(
            policy, B, len(rewards), tokens, prompts.shape[1], settings.epochs, 1 if adjusts else settings.epochs
        ),
    }


def completion_logp(model: Transformer, prompts: Tensor, rollouts: Completions) -> Tensor:
    """log π(token) of every completion token, 0 on padding: (N, C)."""
    with torch.no_grad():
        packing = Packing(prompts, rollouts.tokens, rollouts.mask)
        logp = token_logp(model.completion_logits(packing), packing.targets)
    return torch.zeros(rollouts.mask.shape).masked_scatter_(rollouts.mask, logp)


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the next-token distributions in nats: (M, V) -> scalar."""
    logp = F.log_softmax(logits, -1)
    return -(logp.exp() * logp).sum(-1).mean()


def step_flops(
    policy: Transformer,
    prompts: int,
    rollouts: int,
    tokens: int,
    prompt_length: int,
    epochs: int,
    reference_passes: int | None = None,
) -> float:
    """Operations by the usual count: 2·W per token read forwards and 4·W backwards, W the weights of all matrix
    products (embedding look-ups are free). Sampling reads once, the policy once per epoch, and so does the reference
    unless told otherwise; a group's prompt is read once for sampling and once per pass."""
    weights = policy.flat.numel() - policy.embedding.numel()
    read = prompts * prompt_length + tokens
    return 2.0 * weights * read * (1 + 3 * epochs + (epochs if reference_passes is None else reference_passes))
