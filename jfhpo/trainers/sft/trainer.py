"""`SftTrainer`: TRL's SFTTrainer with a LoRA adapter, one trial at a time, driven step by step.

The objective is the mean loss per response token on the validation pairs. Scores are better when higher here, so that
it is reported as exp(−loss), the inverse perplexity: it has the order of the loss and lies between 0 and 1. The reward
of a step is the same of the loss on its batch.

Resuming is exact, bit for bit on a CPU: pairs are laid out beforehand for the whole horizon, and the checkpoint holds
the random state that dropout draws from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from jfhpo.core.trainer import Evaluation, Trainer, TrainingFailed
from jfhpo.core.trial import Cost, StepRecord, Trial
from jfhpo.tasks.instructions import material
from jfhpo.trainers.hf import checkpoints
from jfhpo.trainers.hf.order import dealt
from jfhpo.trainers.hf.report import accuracy
from jfhpo.trainers.hf.run import Run, tokenizer_of
from jfhpo.trainers.hf.sampling import Answers, Batch, answered, draw
from jfhpo.trainers.hf.shape import matrix_parameters, model_path
from jfhpo.trainers.hf.stepping import StepByStep
from jfhpo.trainers.sft.arguments import RANK, SftSettings, lora_arguments, sft_arguments
from jfhpo.trainers.sft.pairs import IGNORED, encoded, response_loss

NOT_MEASURED = math.nan
"""KL and clip fraction: there is no reference policy and no clipping."""


class SftTrainer(Trainer):
    """`models` maps a size to a Hugging Face folder or hub name; `data` holds what
    `jfhpo.tasks.instructions.material.load` wants."""

    def __init__(
        self,
        task: str,
        models: Mapping[str, str],
        max_steps: int,
        settings: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ):
        self.models, self.max_steps, self.settings = dict(models), max_steps, SftSettings(**settings or {})
        self.material = material.load(task, data or {})
        self.longest = self.settings.max_answer_length or self.material.longest
        self.batch = Batch(self.settings.eval_batch)
        self.run = Run()
        self.encoded: dict[str, tuple[Dataset, Dataset]] = {}
        """Model -> its training and validation pairs in its own tokens."""

    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        with self.run.overhead.timed(self.run.now):
            self.run.leave()
            self.trial, self.step = trial, 0
            if checkpoint is not None:
                self.step = int(checkpoints.read(checkpoint, trial)["step"])
            path = model_path(self.models, trial.fidelity.model)
            self.tokenizer = tokenizer_of(path)
            self.train, self.validation = self._pairs(trial.fidelity.model)
            self.order = dealt(len(self.train), self.max_steps, self.settings.batch, trial.seed)
            self.run.begin(lambda steps: self._make(path, steps), 1, checkpoint)
        return self._steps()

    def _pairs(self, model: str) -> tuple[Dataset, Dataset]:
        if model not in self.encoded:
            train, longest = self.material.train[: self.settings.pairs], self.settings.max_length
            both = (encoded(self.tokenizer, pairs, longest) for pairs in (train, self.material.validation))
            self.encoded[model] = tuple(both)
        return self.encoded[model]

    def _make(self, path: str, steps: StepByStep) -> SFTTrainer:
        trial = self.trial
        args = SFTConfig(
            **self.run.arguments(trial),
            **sft_arguments(trial.config, self.settings, self.max_steps),
            dataset_kwargs={"skip_prepare_dataset": True},
            train_sampling_strategy="sequential",
            logging_nan_inf_filter=False,
        )
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16 if self.run.in_bf16 else torch.float32)
        trainer = SFTTrainer(
            model,
            args=args,
            train_dataset=self.train.select([row for rows in self.order for row in rows]),
            processing_class=self.tokenizer,
            callbacks=[steps],
            peft_config=LoraConfig(**lora_arguments(trial.config, self.settings)),
        )
        self.sizes = self._sizes(trainer.model)
        return trainer

    def _sizes(self, model: Any) -> tuple[int, int]:
        """Parameters of the base's matrix products, and of the adapter; `TrainingFailed` for a rank that a layer of
        this model is too narrow for."""
        rank = self.trial.config.get(RANK, 0)
        for name, layer in model.named_modules():
            if hasattr(layer, "lora_A") and rank > (limit := min(layer.in_features, layer.out_features)):
                raise TrainingFailed(f"{RANK}={rank} is above {limit}, the width of layer {name}")
        adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
        return matrix_parameters(model) - adapter, adapter

    def _steps(self) -> Iterator[StepRecord]:
        trial = self.trial
        while self.step < trial.fidelity.steps:
            began = self.run.now()
            step = self.run.next(self.step)
            self.step, logs = step.number, step.logs[-1]
            rows = self.train[self.order[self.step - 1]]
            read = sum(map(len, rows["input_ids"]))
            learned = sum(label != IGNORED for labels in rows["labels"] for label in labels)
            cost = Cost(self.run.now() - began, learned, self._flops(read))
            self.run.overhead.check_finite(logs, ("loss", "grad_norm"), self.step, cost)
            score = None
            if self.step == trial.fidelity.steps or self.step in trial.validate_at:
                validation = self.evaluate("validation", 1)
                score, cost = validation.mean_at_k, cost + validation.cost
            yield StepRecord(
                step=self.step,
                reward_mean=math.exp(-logs["loss"]),
                kl=NOT_MEASURED,
                entropy=logs["entropy"],
                grad_norm=logs["grad_norm"],
                clip_fraction=NOT_MEASURED,
                completion_length=learned / self.settings.batch,
                learning_rate=logs["learning_rate"],
                loss=logs["loss"],
                cost=cost,
                val_accuracy=score,
                measured=self._downstream(),
            )

    def _downstream(self) -> dict[str, float]:
        """At the end of a full run, how many validation questions the model answers right, greedily. Not charged: it is
        there to be compared with the loss, and no search sees it."""
        if self.step < self.max_steps or not self.settings.answered:
            return {}
        right, _ = self._answers(self.material.questions["validation"].first(self.settings.answered), None)
        return {"answered": sum(right) / len(right)}

    def _flops(self, read: int) -> float:
        """By the 2·N per token rule: forward, and backward for the activations through all weights; gradients of
        weights for the adapter's only."""
        base, adapter = self.sizes
        return (4.0 * base + 6.0 * adapter) * read

    def save(self, path: Path) -> None:
        with self.run.overhead.timed(self.run.now):
            self.run.save(path, self.trial, self.step)

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        """On ``validation`` the objective, exp(−loss), the same for every k and seed; on ``test`` the downstream
        questions, k sampled answers to each."""
        began = self.run.now()
        base, adapter = self.sizes
        if split == "validation":
            micro = self.settings.micro_batch or self.settings.batch
            loss, _, read = response_loss(self.run.model, self.validation, micro)
            cost = Cost(self.run.now() - began, 0, 2.0 * (base + adapter) * read)
            return Evaluation(split, len(self.validation), math.nan, math.exp(-loss), math.nan, k, cost)
        asked = self.material.questions[split]
        right, best, tokens = answered(lambda drawn: self._answers(asked, drawn), k, seed, greedy)
        cost = Cost(self.run.now() - began, tokens, 2.0 * (base + adapter) * tokens)
        return accuracy(split, right, best, cost)

    def _answers(self, asked: material.Questions, seed: int | None) -> Answers:
        """Which questions one draw answers right; without a seed greedily."""
        opening = self.tokenizer.bos_token or ""  # as in training
        prompts = [opening + prompt for prompt in asked.prompts]
        ids = self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        texts, tokens = draw(self.run.model, self.tokenizer, ids, self.longest, seed, self.batch)
        right = [float(self.material.right(text, answer)) for text, answer in zip(texts, asked.answers, strict=True)]
        return right, tokens

    def overhead(self) -> Cost:
        return self.run.overhead.told()
