"""`TrlTrainer`: TRL's GRPOTrainer, one trial at a time, driven step by step.

Resuming is exact, bit for bit on a CPU: the order of prompts is laid out beforehand for the whole horizon, so TRL's own
shuffling, which begins anew after a resume, is off, and a step of the study ends where TRL has used its rollouts up.
With vLLM, sampling is another engine's and repeats only as far as that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import GRPOConfig, GRPOTrainer

from jfhpo.core.trainer import Evaluation, Trainer
from jfhpo.core.trial import Cost, StepRecord, Trial
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets.own_reward import call_of
from jfhpo.trainers.hf import checkpoints
from jfhpo.trainers.hf.order import dealt
from jfhpo.trainers.hf.report import accuracy, step_flops
from jfhpo.trainers.hf.run import Run, tokenizer_of
from jfhpo.trainers.hf.sampling import Answers, Batch, answered, draw
from jfhpo.trainers.hf.shape import matrix_parameters, model_path
from jfhpo.trainers.hf.stepping import Step, StepByStep
from jfhpo.trainers.trl.arguments import TrlSettings, grpo_arguments
from jfhpo.trainers.trl.grpovi import GRPOVI
from jfhpo.trainers.trl.material import Reward, material
from jfhpo.trainers.trl.rewards import Counted, TaskReward

VALIDATION_K = 1
"""Samples per validation prompt."""


class GRPOVITrainer(GRPOVI, GRPOTrainer):
    """TRL's trainer on adjusted rewards."""


class TrlTrainer(Trainer):
    """`models` maps a size to a Hugging Face folder or hub name; `data` holds the arguments of
    `jfhpo.tasks.datasets.load` for data sets that are not generated, or of `material.OwnSource` for a user's own, whose
    accuracy is the mean of their reward."""

    def __init__(
        self,
        task: str,
        models: Mapping[str, str],
        max_steps: int,
        settings: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ):
        self.task, self.models, self.max_steps = task, dict(models), max_steps
        self.settings = TrlSettings(**settings or {})
        self.data, self.right = material(task, data or {}, self.settings.extraction)
        most = self.settings.held_out_prompts
        held_out = {split: rows for split, rows in self.data.items() if split != "train" and most is not None}
        self.data |= {split: rows.select(range(min(most, len(rows)))) for split, rows in held_out.items()}
        self.longest = self.settings.max_completion_length or TASKS[task].completion_length
        self.batch = Batch(self.settings.eval_batch)
        self.run = Run()

    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        with self.run.overhead.timed(self.run.now):
            self.run.leave()
            self.trial, self.step, self.seen = trial, 0, 0
            if checkpoint is not None:
                held = checkpoints.read(checkpoint, trial)
                self.step, self.seen = int(held["step"]), int(held["seen"])
            path = model_path(self.models, trial.fidelity.model)
            self.tokenizer = tokenizer_of(path)
            self.run.begin(lambda steps: self._make(path, steps), self.settings.updates, checkpoint)
        return self._steps()

    def _make(self, path: str, steps: StepByStep) -> GRPOTrainer:
        trial, wanted = self.trial, grpo_arguments(self.trial.config, self.settings, self.max_steps)
        args = GRPOConfig(
            **self.run.arguments(trial), **wanted, max_completion_length=self.longest, shuffle_dataset=False
        )
        # TRL reads these where it loads the model itself, and for the reference.
        model = AutoModelForCausalLM.from_pretrained(path, **{"dtype": torch.float32, **(args.model_init_kwargs or {})})
        self.rewarded = Counted(self._reward(model))
        make: Callable[..., GRPOTrainer] = GRPOTrainer
        if trial.config.get("advantage", self.settings.advantage) == "grpovi":
            bounds = tuple(self.settings.reward_bounds)
            make = partial(GRPOVITrainer, reward_bounds=bounds, grpovi_ties=self.settings.grpovi_ties)
        return make(
            model,
            reward_funcs=self.rewarded,
            args=args,
            train_dataset=self._in_order(),
            processing_class=self.tokenizer,
            callbacks=[steps],
            peft_config=_lora(self.settings.lora),
        )

    def _in_order(self) -> Dataset:
        """The training prompts of the whole horizon."""
        train = self.data["train"]
        order = dealt(len(train), self.max_steps, self.settings.prompts_per_step, self.trial.seed)
        return train.select([row for rows in order for row in rows])

    def _reward(self, model: Any) -> TaskReward | Reward:
        """What is trained on; validation and test are of the exact answer."""
        if self.task not in TASKS:
            return self.right
        own = model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])}
        return TaskReward(self.task, self.settings.reward, self.tokenizer, ends)

    def _steps(self) -> Iterator[StepRecord]:
        trial = self.trial
        while self.step < trial.fidelity.steps:
            began, sampled = self.run.now(), self.rewarded.tokens
            step = self.run.next(self.step)
            self.step = step.number
            metrics = merged(step)
            tokens, read = self.rewarded.tokens - sampled, metrics["num_tokens"] - self.seen
            self.seen = metrics["num_tokens"]
            flops = step_flops(matrix_parameters(self.run.trainer.model), read, self.settings.epochs)
            cost = Cost(self.run.now() - began, tokens, flops)
            self.run.overhead.check_finite(metrics, ("loss", "grad_norm"), self.step, cost)
            score = None
            if self.step == trial.fidelity.steps or self.step in trial.validate_at:
                validation = self.evaluate("validation", VALIDATION_K, greedy=False)
                score, cost = validation.mean_at_k, cost + validation.cost
            yield StepRecord(
                step=self.step,
                reward_mean=metrics["reward"],
                kl=metrics["kl"],
                entropy=metrics["entropy"],
                grad_norm=metrics["grad_norm"],
                clip_fraction=metrics["clip_ratio/region_mean"],
                completion_length=metrics["completions/mean_length"],
                learning_rate=metrics["learning_rate"],
                loss=metrics["loss"],
                cost=cost,
                val_accuracy=score,
            )

    def save(self, path: Path) -> None:
        with self.run.overhead.timed(self.run.now):
            self.run.save(path, self.trial, self.step, seen=self.seen)

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        began = self.run.now()
        rows = self.data[split]
        right, best, tokens = answered(lambda drawn: self._answers(rows, drawn), k, seed, greedy)
        flops = 2.0 * matrix_parameters(self.run.trainer.model) * tokens
        return accuracy(split, right, best, Cost(self.run.now() - began, tokens, flops))

    def _answers(self, rows: Dataset, seed: int | None) -> Answers:
        """The reward of one draw on every row; without a seed greedily."""
        ids, *_ = self.run.trainer._tokenize_prompts(
            list(rows["prompt"])
        )  # special tokens and templates as in training
        texts, tokens = draw(self.run.model, self.tokenizer, ids, self.longest, seed, self.batch)
        return self.right(**call_of(rows.to_list(), texts)), tokens

    def overhead(self) -> Cost:
        return self.run.overhead.told()


def merged(step: Step) -> dict[str, float]:
    """One number per metric of a step: the mean over its optimizer steps. What belongs to the sampling is logged by the
    first of them only."""
    names = dict.fromkeys(name for logs in step.logs for name in logs)
    found = {name: _mean([float(logs[name]) for logs in step.logs if name in logs]) for name in names}
    return found | {"num_tokens": max(int(logs.get("num_tokens", 0)) for logs in step.logs)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _lora(arguments: Mapping[str, Any] | None) -> Any:
    if arguments is None:
        return None
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **arguments)
