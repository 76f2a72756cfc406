"""Making a base model: learn the task to full skill, then unlearn it in part.

Reinforcement learning cannot teach a model this small facts it never saw (an under-trained base stays flat), but
it recovers what is there. So a base first learns the task from clean worked solutions, and then a short
polluted phase in which most solutions skip the working and many steps are wrong. What GRPO meets is a model that
answers 15-25 % right and knows how to do better.

The clean phase ends with a sharp transition whose time varies with the seed; it runs until clean validation passes a
bar, never for a fixed number of steps, and starts over with the next seed where the transition does not come.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jfhpo.tasks.text_task import Corruption, TextTask
from jfhpo.trainers.mini.model import ModelShape, Packing, Transformer, token_logp
from jfhpo.trainers.mini.sampling import sample
from jfhpo.trainers.mini.vocabulary import EOS, PAD, EncodedSplit, Vocabulary


@dataclass(frozen=True)
class PretrainSettings:
    lr: float
    """Peak learning rate of the clean phase; the polluted phase takes a quarter of it."""
    max_steps: int = 900
    """Steps within which the transition has to come."""
    attempts: int = 3
    """Seeds tried before giving up."""
    bar: float = 0.97
    """Greedy accuracy on validation that ends the clean phase."""
    check_every: int = 25
    batch: int = 128
    warmup: int = 20
    polluted_steps: int = 80
    pollution: Corruption = TextTask.pollution
    """Of the polluted phase; a `BaseSpec` takes its task's own."""
    pool: int = 20_000
    """Worked solutions drawn once per phase; batches are drawn from them."""


class NoTransition(RuntimeError):
    """No attempt passed the bar within `max_steps`."""


@dataclass(frozen=True)
class Progress:
    """What a watcher of `make_base` is told."""

    phase: str
    step: int
    of: int
    accuracy: float
    attempt: int


@dataclass(frozen=True)
class Base:
    weights: Tensor
    clean_accuracy: float
    """Greedy, on validation, when the clean phase ended."""
    sampled_accuracy: float
    """At temperature 1, on validation, after pollution: where reinforcement learning starts."""
    greedy_accuracy: float
    clean_steps: int
    attempt: int
    cpu_seconds: float


@dataclass(frozen=True)
class Material:
    """What a base learns from and is measured on."""

    task: TextTask
    vocabulary: Vocabulary
    validation: EncodedSplit
    held_out: frozenset[str]
    """Prompts of all splits: pre-training sees none of them."""

    def accuracy(self, model: Transformer, generator: torch.Generator | None = None) -> float:
        """On validation: greedy, or sampled from `generator`."""
        prompts, limit = self.validation.prompts, self.task.completion_length
        completions = sample(model, prompts, 1, limit, eos=EOS, pad=PAD, generator=generator)
        return float(self.validation.reward(torch.arange(len(prompts)), completions.tokens).mean())

    def demonstrations(self, count: int, corruption: Corruption, seed: int) -> tuple[Tensor, Tensor]:
        """Prompts (count, P) and padded worked solutions (count, C)."""
        pairs = self.task.demonstrations(count, random.Random(seed), corruption, self.held_out)
        prompts = torch.tensor([self.vocabulary.encode(p) for p, _ in pairs])
        return prompts, self.vocabulary.pad([s for _, s in pairs], self.task.completion_length)


def train_phase(
    model: Transformer,
    material: Material,
    settings: PretrainSettings,
    corruption: Corruption,
    *,
    steps: int,
    lr: float,
    seed: int,
    bar: float,
    watch: Callable[[int, float], None],
) -> tuple[float, int]:
    """Cross-entropy on worked solutions, AdamW, warm-up then cosine to 5 %, until greedy accuracy reaches `bar` or
    `steps` are done. Returns the last accuracy and the steps."""
    prompts, solutions = material.demonstrations(min(settings.pool, steps * settings.batch), corruption, 7919 * seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([model.flat], lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    accuracy = 0.0
    for step in range(1, steps + 1):
        rows = torch.randint(0, len(prompts), (settings.batch,), generator=generator)
        packing = Packing(prompts[rows], solutions[rows], solutions[rows] != PAD)
        (-token_logp(model.completion_logits(packing), packing.targets).mean()).backward()
        torch.nn.utils.clip_grad_norm_([model.flat], 1.0)
        decay = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
        optimizer.param_groups[0]["lr"] = lr * min(1.0, step / settings.warmup) * decay
        optimizer.step()
        model.flat.grad.zero_()
        if step % settings.check_every == 0 or step == steps:
            accuracy = material.accuracy(model)
            watch(step, accuracy)
            if accuracy >= bar:
                break
    return accuracy, step


def make_base(
    material: Material,
    shape: ModelShape,
    settings: PretrainSettings,
    seed: int = 0,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Base:
    """Train one base. Raises `NoTransition` after the last attempt."""
    started = time.process_time()
    for attempt in range(settings.attempts):
        own_seed = seed + 1000 * attempt
        model = Transformer(shape, seed=own_seed)

        def tell(name: str, of: int, attempt: int = attempt) -> Callable[[int, float], None]:
            return lambda step, accuracy: watch(Progress(name, step, of, accuracy, attempt))

        clean, clean_steps = train_phase(
            model,
            material,
            settings,
            Corruption(),
            steps=settings.max_steps,
            lr=settings.lr,
            seed=own_seed,
            bar=settings.bar,
            watch=tell("clean", settings.max_steps),
        )
        if clean < settings.bar:
            watch(Progress("no transition", clean_steps, settings.max_steps, clean, attempt))
            continue
        greedy, _ = train_phase(
            model,
            material,
            settings,
            settings.pollution,
            steps=settings.polluted_steps,
            lr=settings.lr / 4,
            seed=own_seed + 1,
            bar=math.inf,
            watch=tell("polluted", settings.polluted_steps),
        )
        return Base(
            weights=model.state(),
            clean_accuracy=clean,
            sampled_accuracy=material.accuracy(model, torch.Generator().manual_seed(seed)),
            greedy_accuracy=greedy,
            clean_steps=clean_steps,
            attempt=attempt,
            cpu_seconds=time.process_time() - started,
        )
    raise NoTransition(
        f"no base of width {shape.width} reached {settings.bar:.0%} on clean {material.task.name} within "
        f"{settings.max_steps} steps from any of {settings.attempts} seeds; raise max_steps or change the learning rate"
    )
