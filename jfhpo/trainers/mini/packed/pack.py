"""Trials of one size side by side: their weights and Adam's moments stacked, and AdamW on all of them in one call."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jfhpo.core.trial import Cost
from jfhpo.trainers.mini.trainer import MiniTrainer

ADAM_EPS = 1e-8  # torch's


class Member:
    """One trial of a pack. Its `MiniTrainer` began it, holds its prompt order, its generators and its step, and saves
    it; weights and moments live on the pack's device, as rows of a `Stack` while they are trained."""

    def __init__(self, trainer: MiniTrainer, device: torch.device):
        self.trainer, self.carried = trainer, Cost()
        self.stack: Stack | None = None
        self.weights = trainer.policy.flat.detach().to(device)
        adam = trainer.optimizer.state[trainer.policy.flat]
        self.updates = int(adam["step"]) if adam else 0
        self.moments = tuple(
            adam[name].to(device) if adam else torch.zeros_like(self.weights) for name in ("exp_avg", "exp_avg_sq")
        )

    def hand_back(self) -> None:
        """Bring the trainer's own model and optimizer to where the pack has come."""
        policy, optimizer = self.trainer.policy, self.trainer.optimizer
        policy.load(self.weights)
        mean, square = (moment.to("cpu", copy=True) for moment in self.moments)
        step = torch.tensor(float(self.updates), dtype=torch.float32)
        optimizer.state[policy.flat] = {"step": step, "exp_avg": mean, "exp_avg_sq": square}


class Stack:
    """Weights and moments of some members as the rows of three tensors (T, W); the members' own become views of them.

    A member is in one stack at a time: making another takes it out of the one before.
    """

    def __init__(self, members: Sequence[Member]):
        self.members = tuple(members)
        self.weights = torch.stack([m.weights for m in members])
        self.moments = tuple(torch.stack(some) for some in zip(*(m.moments for m in members), strict=True))
        for i, member in enumerate(members):
            member.stack = self
            member.weights, member.moments = self.weights[i], tuple(moment[i] for moment in self.moments)

    def holds(self, members: Sequence[Member]) -> bool:
        """Whether its rows are those of these members, in this order, and none has been taken out since."""
        return self.members == tuple(members) and all(member.stack is self for member in members)

    def update(self, gradient: Tensor, lr: Tensor, betas: tuple[float, float], weight_decay: float) -> None:
        """One step of AdamW (Loshchilov and Hutter 2019, algorithm 2) for every trial: gradient (T, W), lr (T,)."""
        (beta1, beta2), (mean, square) = betas, self.moments
        for member in self.members:
            member.updates += 1
        counts = torch.tensor([m.updates for m in self.members], dtype=torch.float64)
        size = (lr.double() / (1 - beta1**counts)).to(self.weights).unsqueeze(1)
        root = (1 - beta2**counts).sqrt().to(self.weights).unsqueeze(1)
        self.weights.mul_(1 - weight_decay * lr.to(self.weights).unsqueeze(1))
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        self.weights.addcdiv_(mean * -size, (square.sqrt() / root).add_(ADAM_EPS))


def clip(gradient: Tensor, limits: Tensor) -> Tensor:
    """Scale each trial's gradient (T, W) in place to a norm of at most its limit (T,), as
    `torch.nn.utils.clip_grad_norm_` does; the norms before it (T,)."""
    norms = torch.linalg.vector_norm(gradient, dim=1)
    gradient.mul_((limits / (norms + 1e-6)).clamp(max=1.0).unsqueeze(1))
    return norms
