"""`MiniTrainer`: GRPO on a miniature base model behind the `Trainer` protocol, on one CPU thread."""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from jfhpo.core.trainer import CheckpointError, Evaluation, Trainer, TrainingFailed
from jfhpo.core.trial import Config, Cost, StepRecord, Trial
from jfhpo.tasks import TASKS
from jfhpo.trainers.mini.family import SPLIT_SIZES, code_version, load_base
from jfhpo.trainers.mini.graded import GradedSplit
from jfhpo.trainers.mini.grpo import GRPOSettings, Hyperparameters, PromptOrder, grpo_step
from jfhpo.trainers.mini.sampling import sample
from jfhpo.trainers.mini.vocabulary import EOS, PAD, Vocabulary

DIGEST_BYTES = 32
"""A checkpoint file is the sha256 of what follows, then a torch archive."""
VALIDATION_K = 1
"""Samples per validation prompt: with 512 prompts the standard error is at most 2.2 points."""
VERL = {"lr_scheduler": "constant", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 1e-3, "rollout_n": 4}
VERL_LR, VERL_WIDTH = 1e-6, 3584
"""verl's GRPO example scripts, as ``docs/deviations.md`` has them at this scale; the lr is for that width."""


class MiniTrainer(Trainer):
    """`bases` maps a model size to its Hugging Face folder (`jfhpo family` makes them)."""

    def __init__(self, task: str, bases: Mapping[str, str], max_steps: int, settings: Mapping[str, Any] | None = None):
        self.task = TASKS[task]
        self.bases = {size: Path(folder) for size, folder in bases.items()}
        self.settings = GRPOSettings.of(settings or {}, max_steps)
        self.vocabulary = Vocabulary(self.task)
        splits = self.task.splits(SPLIT_SIZES)
        self.data = {name: self.vocabulary.batch(rows) for name, rows in splits.items()}
        self.rewarded = self.data["train"]
        if self.settings.reward == "graded":
            self.rewarded = GradedSplit(self.data["train"], splits["train"], self.vocabulary)
        # torch imports much of itself when the first optimizer is made, and sources are read for their version once;
        # no trial should pay for that.
        torch.optim.AdamW([torch.zeros(1)], fused=True)
        code_version()
        self._carried = Cost()

    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        began = time.process_time()
        self.trial, self.step = trial, 0
        if trial.fidelity.model not in self.bases:
            raise TrainingFailed(f"model '{trial.fidelity.model}' is none of the trainer's: {', '.join(self.bases)}")
        self.policy, self.reference = (load_base(self.bases[trial.fidelity.model], self.vocabulary) for _ in range(2))
        self.hp = hyperparameters({"advantage": self.settings.advantage, **trial.config}, self.policy.shape.width)
        self.optimizer = torch.optim.AdamW(
            [self.policy.flat],
            lr=self.hp.lr,
            betas=self.settings.adam_betas,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        # Distinct streams for prompt order and sampling: the order of prompts is the same for every configuration.
        self.order = PromptOrder(len(self.data["train"]), torch.Generator().manual_seed(2 * trial.seed))
        self.sampling = torch.Generator().manual_seed(2 * trial.seed + 1)
        if checkpoint is not None:
            self._load(checkpoint)
        self._carried += Cost(seconds=time.process_time() - began)
        return self._steps()

    def _steps(self) -> Iterator[StepRecord]:
        trial = self.trial
        while self.step < trial.fidelity.steps:
            began = time.process_time()
            metrics = grpo_step(
                self.policy, self.reference, self.optimizer, self.rewarded, self.order, self.sampling,
                self.hp, self.settings, self.step, self.task.completion_length,
            )  # fmt: skip
            self.step += 1
            for name in ("loss", "grad_norm"):
                if not math.isfinite(metrics[name]):
                    self._carried += Cost(time.process_time() - began, int(metrics["tokens"]), metrics["flops"])
                    raise TrainingFailed(f"{name} is {metrics[name]} at step {self.step}")
            validated, accuracy = Cost(), None
            if self.step == trial.fidelity.steps or self.step in trial.validate_at:
                validation = self.evaluate("validation", VALIDATION_K, greedy=False)
                accuracy, validated = validation.mean_at_k, validation.cost
            yield StepRecord(
                step=self.step,
                reward_mean=metrics["reward_mean"],
                kl=metrics["kl"],
                entropy=metrics["entropy"],
                grad_norm=metrics["grad_norm"],
                clip_fraction=metrics["clip_fraction"],
                completion_length=metrics["completion_length"],
                learning_rate=metrics["learning_rate"],
                loss=metrics["loss"],
                cost=Cost(
                    time.process_time() - began,
                    int(metrics["tokens"]) + validated.tokens,
                    metrics["flops"] + validated.flops,
                ),
                val_accuracy=accuracy,
            )

    def save(self, path: Path) -> None:
        began = time.process_time()
        adam = self.optimizer.state[self.policy.flat]
        content = io.BytesIO()
        torch.save(
            {
                "code_version": code_version(),
                "config": dict(self.trial.config),
                "model": self.trial.fidelity.model,
                "seed": self.trial.seed,
                "step": self.step,
                "weights": self.policy.flat,
                "adam": {k: adam[k] for k in ("step", "exp_avg", "exp_avg_sq")},
                "prompt_order": {"order": self.order.order, "at": self.order.at},
                "rng": {"order": self.order.generator.get_state(), "sampling": self.sampling.get_state()},
            },
            content,
        )
        path.write_bytes(hashlib.sha256(content.getbuffer()).digest() + content.getbuffer())
        self._carried += Cost(seconds=time.process_time() - began)

    def _load(self, path: Path) -> None:
        try:
            stored = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
        digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:  # torch.load would not notice a flipped bit
            raise CheckpointError(f"checkpoint {path} is not what was written: its checksum differs")
        state = torch.load(io.BytesIO(content), weights_only=True)
        mine = {"code_version": code_version(), "config": dict(self.trial.config)}
        mine |= {"model": self.trial.fidelity.model, "seed": self.trial.seed}
        for name, value in mine.items():
            if state.get(name) != value:
                raise CheckpointError(f"checkpoint {path} has {name}={state.get(name)}, this trial {value}")
        self.step = state["step"]
        self.policy.load(state["weights"])
        self.optimizer.state[self.policy.flat] = state["adam"]
        self.order.order, self.order.at = state["prompt_order"]["order"], state["prompt_order"]["at"]
        self.order.generator.set_state(state["rng"]["order"])
        self.sampling.set_state(state["rng"]["sampling"])

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        began = time.process_time()
        data, limit = self.data[split], self.task.completion_length
        every = torch.arange(len(data))
        tokens, right = 0, torch.zeros(len(data))
        for draw in range(k):
            # One stream per draw, so that the first of k draws is the same for every k.
            generator = torch.Generator().manual_seed(1_000_003 * seed + draw)
            drawn = sample(self.policy, data.prompts, 1, limit, eos=EOS, pad=PAD, generator=generator)
            right += data.reward(every, drawn.tokens)
            tokens += int(drawn.mask.sum())
        best = math.nan
        if greedy:
            drawn = sample(self.policy, data.prompts, 1, limit, eos=EOS, pad=PAD, generator=None)
            best = float(data.reward(every, drawn.tokens).mean())
            tokens += int(drawn.mask.sum())
        share = right / k
        read = tokens + (k + greedy) * data.prompts.numel()
        flops = 2.0 * (self.policy.flat.numel() - self.policy.embedding.numel()) * read
        return Evaluation(
            split=split,
            prompts=len(data),
            greedy=best,
            mean_at_k=float(share.mean()),
            standard_error=float(share.std() / math.sqrt(len(data))),
            k=k,
            cost=Cost(time.process_time() - began, tokens, flops),
        )

    def overhead(self) -> Cost:
        carried, self._carried = self._carried, Cost()
        return carried


def hyperparameters(config: Config, width: int) -> Hyperparameters:
    """A configuration as the trainer's hyperparameters; the space has checked names and ranges. What it does not hold,
    being inactive or in no space at all, is the VeRL recipe's, the learning rate for a model of this width."""
    return Hyperparameters(**{"lr": VERL_LR * VERL_WIDTH / width, **VERL, **config})
