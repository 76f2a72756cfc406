"""One run of a Hugging Face `Trainer` as a study drives it: made, taken step by step, saved, and left behind.

What TRL's GRPOTrainer and SFTTrainer have in common here; what they train, and what a step of it means, is theirs.
"""

from __future__ import annotations

import tempfile
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PrinterCallback
from transformers.utils import logging

from jfhpo.core.trainer import CheckpointError, TrainingFailed
from jfhpo.core.trial import Trial
from jfhpo.trainers.hf import checkpoints
from jfhpo.trainers.hf.random_state import undisturbed
from jfhpo.trainers.hf.report import Overhead
from jfhpo.trainers.hf.stepping import Step, StepByStep


class Run:
    """At most one at a time: `leave` it before the next is made. It is left, too, when nobody holds it any more."""

    def __init__(self) -> None:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        # TRL and PEFT go by this name, which transformers 5.5 has no other for.
        warnings.filterwarnings("ignore", r"`(is_)?gradient_checkpointing` is deprecated", FutureWarning)
        self.on_gpu = torch.cuda.is_available()
        self.in_bf16 = self.on_gpu and torch.cuda.is_bf16_supported()
        self.steps: StepByStep | None = None
        self.trainer: Any = None
        self.overhead = Overhead()
        self._leave: Callable[[], object] = lambda: None

    def now(self) -> float:
        """CPU seconds of this process, or where a GPU does the work, seconds."""
        return time.perf_counter() if self.on_gpu else time.process_time()

    def arguments(self, trial: Trial) -> dict[str, Any]:
        """`TrainingArguments` that do not depend on what is trained: with which seed, and that every step is logged and
        nothing is written unless the study says so, and then where it says."""
        return {
            "output_dir": tempfile.gettempdir(),  # it has to be there; `save` says where to write
            "logging_steps": 1,
            "save_strategy": "no",
            "save_only_model": False,
            "seed": trial.seed % 2**32,  # numpy's limit
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": not self.on_gpu,
            "bf16": self.in_bf16,
        }

    def begin(self, make: Callable[[StepByStep], Any], updates: int, checkpoint: Path | None) -> None:
        """Train what is made with this callback, from the checkpoint if there is one; the first step is next.

        `updates` are optimizer steps of the library's per step of the study.
        """
        steps = StepByStep(updates)
        with undisturbed():  # the library seeds the process's random state, and draws from it
            trainer = make(steps)
            trainer.remove_callback(PrinterCallback)
            resume = str(checkpoints.written(checkpoint)) if checkpoint else None
            self.trainer, self.steps = trainer, steps
            self._leave = weakref.finalize(self, steps.end)
            try:
                steps.run(lambda: trainer.train(resume_from_checkpoint=resume))
            except torch.cuda.OutOfMemoryError as error:
                raise TrainingFailed("out of GPU memory before the first step") from error
            except Exception as error:
                if checkpoint is None:
                    raise
                raise CheckpointError(f"checkpoint {checkpoint} cannot be resumed: {error}") from error

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
        """The checkpoint of this step, a folder, with `held` to be read back."""
        arguments = self.trainer.args
        nowhere, arguments.output_dir = arguments.output_dir, str(path)
        try:
            self.steps.save()
        finally:
            arguments.output_dir = nowhere
        checkpoints.seal(path, trial, step=step, **held)

    @property
    def model(self) -> Any:
        return self.trainer.accelerator.unwrap_model(self.trainer.model)

    def leave(self) -> None:
        """Leave the training where it is."""
        self._leave()
        self.steps = self.trainer = None
        if self.on_gpu:
            torch.cuda.empty_cache()


def tokenizer_of(path: str) -> Any:
    """A model's tokenizer, padding on the left, with its end of sequence as padding where it has none of its own."""
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
