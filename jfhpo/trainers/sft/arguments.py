"""From a configuration to the arguments of `SFTConfig` and `LoraConfig`, checked before anything is loaded.

What is not searched is the paper's (arXiv 2312.00949): AdamW without weight decay, warm-up over 3 % of the steps, then
cosine to zero over the problem's `max_steps`, at most 512 tokens, the loss on the response alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Config
from jfhpo.trainers.hf.settings import AT, check_counts, check_undecided, tried

RANK = "lora_rank"
ADAPTER: Mapping[str, str] = {RANK: "r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout"}
"""Hyperparameters of the adapter -> `LoraConfig`'s names."""
TRAINING: Mapping[str, str] = {"lr": "learning_rate", "lr_scheduler": "lr_scheduler_type", "grad_clip": "max_grad_norm"}
"""Hyperparameters of the training -> `SFTConfig`'s names. Any other name is one of its own fields."""
OWN = (
    "output_dir", "max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
    "dataset_kwargs", "packing", "train_sampling_strategy", "logging_steps", "logging_nan_inf_filter", "save_strategy",
    "seed", "report_to",
)  # fmt: skip
"""What the trainer itself decides."""


@dataclass(frozen=True)
class SftSettings:
    """``problem.trainer_settings`` of the SFT trainer."""

    batch: int = 128
    """Pairs per step."""
    micro_batch: int | None = None
    """Pairs per forward pass; None: the whole batch."""
    pairs: int | None = None
    """Training pairs to use, from the first on; None: all."""
    warmup: float = 0.03
    """Share of `max_steps` over which the learning rate rises."""
    weight_decay: float = 0.0
    max_length: int = 512
    """Tokens of prompt and response together; what is longer is cut at its end."""
    target_modules: Any = None
    """Layers that get an adapter: names, or ``all-linear``; None: PEFT's choice for the architecture."""
    lora: Mapping[str, Any] | None = None
    """More arguments of `peft.LoraConfig`, as they are."""
    arguments: Mapping[str, Any] | None = None
    """More arguments of `SFTConfig`, as they are."""
    max_answer_length: int | None = None
    """Tokens of an answer to a downstream question; None: what the generated set needs (others need a number)."""
    eval_batch: int = 256
    """Questions answered at once, halved where GPU memory runs out."""
    answered: int = 256
    """Validation questions that a model is asked at the end of a full run, outside its cost: nothing searches by
    them. 0: none."""

    def check(self) -> None:
        """A `UsageError` for what can be no setting."""
        check_counts(self, "batch", "micro_batch", "pairs", "max_answer_length", "eval_batch")
        check_counts(self, "max_length", least=2)
        check_counts(self, "answered", least=0)
        if self.batch % (self.micro_batch or self.batch):
            raise UsageError(f"{AT}.micro_batch={self.micro_batch} does not divide batch={self.batch}")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"{AT}.warmup={self.warmup} must be from 0 to below 1: a share")
        check_undecided(self.arguments, OWN)
        for name in self.lora or {}:
            if name in (*ADAPTER.values(), "target_modules"):
                raise UsageError(f"{AT}.lora.{name} has a setting of its own; leave it out here")


def check_ranks(ranks: Mapping[str, Any], width: int, model: str) -> None:
    """A `UsageError` for a rank in the space's ``lora_rank`` above the width of the narrowest model's layers.

    A product of two matrices has at most the rank of the layer: beyond its width there is nothing to gain, and what is
    trained is more than the layer itself.
    """
    for rank in tried(ranks):
        if not isinstance(rank, int | float) or rank != int(rank) or rank < 1:
            raise UsageError(f"problem.space.{RANK} has {rank}; a rank is a whole number from 1 on")
        if rank > width:
            raise UsageError(
                f"problem.space.{RANK} has {rank}, above {width}, the width of the layers of model {model}; "
                f"ranks up to {width} are allowed"
            )


def lora_arguments(config: Config, settings: SftSettings) -> dict[str, Any]:
    """`LoraConfig`'s; what a configuration does not hold is PEFT's default."""
    found: dict[str, Any] = {"task_type": "CAUSAL_LM", **(settings.lora or {})}
    if settings.target_modules is not None:
        found["target_modules"] = settings.target_modules
    return found | {ADAPTER[name]: value for name, value in config.items() if name in ADAPTER}


def sft_arguments(config: Config, settings: SftSettings, max_steps: int) -> dict[str, Any]:
    """`SFTConfig`'s arguments that decide what is trained; the trainer adds where and how to log."""
    micro = settings.micro_batch or settings.batch
    found: dict[str, Any] = {
        "lr_scheduler_type": "cosine",
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "gradient_checkpointing": False,
        "max_length": settings.max_length,
        **(settings.arguments or {}),
    }
    found |= {TRAINING.get(name, name): value for name, value in config.items() if name not in ADAPTER}
    return found | {
        "max_steps": max_steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": settings.batch // micro,
    }
