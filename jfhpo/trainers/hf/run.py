"""One run of a Hugging Face `Trainer` as a study drives it: made, taken step by step, saved, and left behind.

What TRL's GRPOTrainer and SFTTrainer have in common here; what they train, and what a step of it means, is theirs.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PrinterCallback
from transformers.utils import logging

from jfhpo.core.trainer import TrainingFailed
from jfhpo.core.trial import Trial
from jfhpo.trainers.hf import checkpoints
from jfhpo.trainers.hf.stepping import Step, StepByStep


class Run:
    """At most one at a time: `leave` it before the next is made."""

    def __init__(self, prefix: str):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")  # a dozen lines a trial
        self.on_gpu = torch.cuda.is_available()
        self.in_bf16 = self.on_gpu and torch.cuda.is_bf16_supported()
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self.steps: StepByStep | None = None
        self.trainer: Any = None

    def now(self) -> float:
        """CPU seconds of this process, or where a GPU does the work, seconds."""
        return time.perf_counter() if self.on_gpu else time.process_time()

    def arguments(self, trial: Trial) -> dict[str, Any]:
        """`TrainingArguments` that do not depend on what is trained: where, with which seed, and that every step is
        logged and nothing is saved unless the study says so."""
        return {
            "output_dir": str(self.folder / f"trial-{trial.id}"),
            "logging_steps": 1,
            "save_strategy": "no",
            "save_only_model": False,
            "seed": trial.seed % 2**32,  # numpy's limit
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": not self.on_gpu,
            "bf16": self.in_bf16,
        }

    def begin(self, trainer: Any, steps: StepByStep, checkpoint: Path | None) -> None:
        """Train, from the checkpoint if there is one; `steps` is one of the trainer's callbacks."""
        trainer.remove_callback(PrinterCallback)
        self.trainer, self.steps = trainer, steps
        resume = str(checkpoint) if checkpoint else None
        steps.run(lambda: trainer.train(resume_from_checkpoint=resume))

    def next(self, done: int) -> Step:
        """The step after `done`; `TrainingFailed` where there is none."""
        try:
            step = self.steps.next()
        except torch.cuda.OutOfMemoryError as error:
            raise TrainingFailed(f"out of GPU memory at step {done + 1}") from error
        if step is None:
            raise TrainingFailed(f"TRL ended its training after step {done}")
        return step

    def save(self, path: Path, trial: Trial, step: int, **held: Any) -> None:
        """The checkpoint of this step, with `held` to be read back."""
        self.steps.save()
        written = Path(self.trainer.args.output_dir) / f"checkpoint-{step * self.steps.updates}"
        checkpoints.publish(written, path, trial, step=step, **held)

    @property
    def model(self) -> Any:
        return self.trainer.accelerator.unwrap_model(self.trainer.model)

    def leave(self) -> None:
        """Leave the training where it is, and nothing of what it wrote."""
        if self.steps is not None:
            self.steps.end()
            shutil.rmtree(self.trainer.args.output_dir, ignore_errors=True)
            self.steps = self.trainer = None
            if self.on_gpu:
                torch.cuda.empty_cache()


def tokenizer_of(path: str) -> Any:
    """A model's tokenizer, padding on the left, with its end of sequence as padding where it has none of its own."""
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
