"""One GRPO step of many trials: `jfhpo.trainers.mini.grpo.grpo_step` for all of them in one call.

Symbols are that module's. Every trial has its own hyperparameters, prompts and generators; the sum of the trials'
losses gives each of them the gradient of its own. The reference is frozen and shared: it reads a step's rollouts once,
for all trials and all passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from jfhpo.trainers.grpovi import adjusted_rewards
from jfhpo.trainers.mini.grpo import GRPOSettings, group_advantages, scheduled_lr, step_flops
from jfhpo.trainers.mini.model import Transformer, token_logp
from jfhpo.trainers.mini.packed.layout import Grid, Rows, on
from jfhpo.trainers.mini.packed.model import Policies
from jfhpo.trainers.mini.packed.pack import Member, Stack, clip
from jfhpo.trainers.mini.packed.sampling import PackedCompletions, sample
from jfhpo.trainers.mini.vocabulary import EOS, PAD, EncodedSplit

METRICS = ("loss", "kl", "clip_fraction", "entropy", "grad_norm")


def packed_loss(
    logp: Tensor, logp_old: Tensor, logp_ref: Tensor, advantage: Tensor, clip_ratio: Tensor, kl_loss_coef: Tensor,
    trials: Grid,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`jfhpo.trainers.mini.grpo.grpo_loss` of each trial: every argument (M,), the M tokens of `trials`; loss, KL and
    clip fraction (T,)."""
    # fmt: off
    ratio = (logp - logp_old).exp()                                      # ρ_t = π_θ / π_θ_old
    clipped = ratio.clamp(1 - clip_ratio, 1 + clip_ratio)                # clip(ρ_t, 1 − ε, 1 + ε)
    surrogate = torch.minimum(ratio * advantage, clipped * advantage)    # min(ρ_t Â, clip(ρ_t) Â)
    delta = logp_ref - logp
    kl = delta.exp() - delta - 1                                         # k3 estimate of D_KL(π_θ ‖ π_ref) ≥ 0
    loss = trials.mean(kl_loss_coef * kl - surrogate)                    # mean over the trial's tokens
    # fmt: on
    with torch.no_grad():
        clip_fraction = trials.mean((clipped * advantage < ratio * advantage).to(logp.dtype))
    return loss, trials.mean(kl.detach()), clip_fraction


class Batch:
    """Prompts and rollouts of one step of T trials, and how to take minibatches of them."""

    def __init__(self, prompts: np.ndarray, n: Sequence[int], rollouts: PackedCompletions, device: torch.device):
        """`prompts` (T, B, P); `n` (T,) rollouts for each of a trial's prompts."""
        self.T, self.B, P = prompts.shape
        self.prompts, self.rollouts, self.device = prompts.reshape(-1, P), rollouts, device
        self.tokens = rollouts.tokens.numpy()
        self.count = np.repeat(np.asarray(n), self.B)  # rollouts of each prompt
        self.first = np.cumsum(self.count) - self.count

    def rows(self, prompts: np.ndarray) -> tuple[Rows, Tensor, Tensor]:
        """The pass over some prompts, numbered from 0 to T·B: its rows, and for each real completion token its place
        in the (N, C) grid of all rollouts and its rollout, both (M,)."""
        count = self.count[prompts]
        prompt_of = np.repeat(np.arange(len(prompts)), count)
        nth = np.arange(len(prompt_of)) - np.repeat(np.cumsum(count) - count, count)
        mine = self.first[prompts][prompt_of] + nth
        mask, C = self.rollouts.mask[mine], self.tokens.shape[1]
        trial_of = prompts // self.B
        rows = Rows(self.prompts[prompts], self.tokens[mine], mask, prompt_of, trial_of, self.T, self.device)
        places = (mine[:, None] * C + np.arange(C))[mask]
        return rows, on(self.device, places), on(self.device, places // C)


def packed_step(
    stack: Stack, reference: Policies, like: Transformer, data: EncodedSplit, settings: GRPOSettings, max_tokens: int
) -> list[dict[str, float]]:
    """One step of every member of the stack, each at its own; the metrics of each, as `grpo_step` names them."""
    members, B, device = stack.members, settings.prompts_per_step, stack.weights.device
    T, hps = len(members), [m.trainer.hp for m in members]
    n = [hp.rollout_n for hp in hps]
    which = torch.cat([m.trainer.order.next(B) for m in members])
    prompts = data.prompts[which].view(T, B, -1)
    sampling = [m.trainer.sampling for m in members]
    policies = Policies(stack.weights, like, reference.rotation)
    rollouts = sample(policies, prompts.to(device), n, max_tokens, eos=EOS, pad=PAD, generators=sampling)
    batch = Batch(prompts.numpy(), n, rollouts, device)
    rewards = data.reward(which.repeat_interleave(torch.from_numpy(batch.count)), rollouts.tokens)

    with torch.no_grad():
        rows, places, _ = batch.rows(np.arange(T * B))
        logp_ref = torch.zeros_like(rollouts.logp)
        logp_ref.view(-1)[places] = token_logp(reference.completion_logits(rows), rows.targets)
    advantages = _advantages(members, rewards, logp_ref, settings).to(device)
    rates = [scheduled_lr(hp, m.trainer.step, settings.max_steps) for hp, m in zip(hps, members, strict=True)]
    lr = torch.tensor(rates, dtype=torch.float64)
    limits, clip_ratio, kl_loss_coef = (
        torch.tensor([getattr(hp, name) for hp in hps], dtype=stack.weights.dtype, device=device)
        for name in ("grad_clip", "clip_ratio", "kl_loss_coef")
    )

    seen = []
    for part in _minibatches(members, settings):
        rows, places, rollout = batch.rows(part)
        tokens = rows.by_trial.tokens
        leaf = stack.weights.detach().requires_grad_()
        logits = Policies(leaf, like, reference.rotation).completion_logits(rows)
        trial = rows.by_trial.model_of_token
        loss, kl, clip_fraction = packed_loss(
            token_logp(logits, rows.targets), rollouts.logp.view(-1)[places], logp_ref.view(-1)[places],
            advantages[rollout], clip_ratio[trial], kl_loss_coef[trial], tokens,
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        grad_norm = clip(gradient, limits)
        stack.update(gradient, lr, settings.adam_betas, settings.weight_decay)
        seen.append(torch.stack([loss.detach(), kl, clip_fraction, _entropy(logits.detach(), tokens), grad_norm]))
    means = torch.stack(seen).double().mean(0).T.tolist()  # a trial's metrics, METRICS in turn

    metrics = []
    for m, mean, rate, own in zip(members, means, rates, _parts(n, B), strict=True):
        hp, length = m.trainer.hp, int(rollouts.mask[own].sum())
        passes = 1 if hp.advantage == "grpovi" else settings.epochs
        metrics.append(
            dict(zip(METRICS, mean, strict=True))
            | {
                "reward_mean": float(rewards[own].mean()),
                "completion_length": length / len(rewards[own]),
                "learning_rate": rate,
                "tokens": length,
                "flops": step_flops(like, B, len(rewards[own]), length, prompts.shape[2], settings.epochs, passes),
            }
        )
    return metrics


def _parts(n: Sequence[int], prompts: int) -> list[slice]:
    """Each trial's rollouts among all of them."""
    ends = np.cumsum(np.asarray(n) * prompts).tolist()
    return [slice(end - count * prompts, end) for end, count in zip(ends, n, strict=True)]


def _advantages(members: Sequence[Member], rewards: Tensor, logp_ref: Tensor, settings: GRPOSettings) -> Tensor:
    """Â of every rollout (N,), on the CPU: a group of n is standardised alone, so trials of one n go together."""
    hps, found = [m.trainer.hp for m in members], torch.empty_like(rewards)
    parts = _parts([hp.rollout_n for hp in hps], settings.prompts_per_step)
    for kind in {(hp.rollout_n, hp.advantage) for hp in hps}:
        own = [part for hp, part in zip(hps, parts, strict=True) if (hp.rollout_n, hp.advantage) == kind]
        n, advantage = kind
        given = torch.cat([rewards[part] for part in own])
        if advantage == "grpovi":
            likely = torch.cat([logp_ref[part].sum(1) for part in own]).cpu().view(-1, n)
            given = adjusted_rewards(given.view(-1, n), likely, *settings.reward_bounds, ties=settings.grpovi_ties)
        standardised = group_advantages(given.view(-1), n).split([part.stop - part.start for part in own])
        for part, values in zip(own, standardised, strict=True):
            found[part] = values
    return found


def _minibatches(members: Sequence[Member], settings: GRPOSettings) -> Iterator[np.ndarray]:
    """Prompts of the next update, all trials' together, each in its own order."""
    B = settings.prompts_per_step
    for _ in range(settings.epochs):
        orders = [torch.randperm(B, generator=m.trainer.order.generator) for m in members]
        every = torch.stack([t * B + order for t, order in enumerate(orders)])
        for part in every.chunk(settings.minibatches, 1):
            yield part.reshape(-1).numpy()


def _entropy(logits: Tensor, trials: Grid) -> Tensor:
    """Mean entropy of each trial's next-token distributions in nats: (M, V) -> (T,)."""
    logp = torch.log_softmax(logits, -1)
    return trials.mean(-(logp.exp() * logp).sum(-1))
