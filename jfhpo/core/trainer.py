"""What runs a trial. Trainers know nothing of optimizers or budgets; the study drives them step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jfhpo.core.trial import Cost, StepRecord, Trial


@dataclass(frozen=True)
class Evaluation:
    """How well the current model answers one split."""

    split: str
    prompts: int
    greedy: float
    """Share of prompts answered correctly by greedy decoding."""
    mean_at_k: float
    """Mean accuracy of k samples per prompt at temperature 1 (pass@1 estimated with k samples)."""
    standard_error: float
    """Standard error of `mean_at_k` over prompts (the prompts are the sample; the k samples only sharpen each)."""
    k: int
    cost: Cost


class TrainingFailed(RuntimeError):
    """The trial cannot go on (a loss that is not finite, say). The study records a FAILED result."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: missing, truncated, altered or made by other code."""


class Trainer(ABC):
    """One trial at a time: start, step, save, evaluate; start again for the next trial.

    Everything a run depends on comes from the trial, its seed and the checkpoint: two trainers given the same
    trial produce the same records, and ``start(trial, checkpoint at 20)`` continues as if it had never stopped.
    """

    @abstractmethod
    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        """Yield one record per step until ``trial.fidelity.steps``; raise `TrainingFailed` or `CheckpointError`."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write a checkpoint of the current step to `path` (a new file): model, optimizer, scheduler, data order
        and every RNG state. The caller makes it visible atomically."""

    @abstractmethod
    def evaluate(self, split: str, k: int, seed: int = 0) -> Evaluation:
        """Accuracy of the current model on a split, `k` samples per prompt, drawn from `seed`."""

    @abstractmethod
    def overhead(self) -> Cost:
        """Cost since the last call that no `StepRecord` carries: start-up, loading and saving."""


class PackedTrainer(ABC):
    """Several trials side by side, each in a slot: what `Trainer` does with one, and with the same numbers up to
    rounding, whatever is in the other slots.

    A trial that fails fails alone. What trials share (a step taken together, say) is divided among them, so that costs
    add up to what was spent.
    """

    @abstractmethod
    def start(self, slot: int, trial: Trial, checkpoint: Path | None = None) -> None:
        """Put a trial into a slot, in the place of what was there; raise `TrainingFailed` or `CheckpointError`."""

    @abstractmethod
    def advance(self, slots: Sequence[int]) -> dict[int, StepRecord | TrainingFailed | None]:
        """One step of each of these trials, at once where they can be: by slot its record, how it failed, or None
        once its fidelity is reached."""

    @abstractmethod
    def save(self, slot: int, path: Path) -> None:
        """As `Trainer.save`; a `Trainer` of the same kind can go on from it."""

    @abstractmethod
    def evaluate(
        self, slots: Sequence[int], split: str, k: int, seed: int = 0, greedy: bool = True
    ) -> dict[int, Evaluation]:
        """As `Trainer.evaluate`, by slot."""

    @abstractmethod
    def overhead(self, slot: int) -> Cost:
        """Cost since the last call that no `StepRecord` of this slot carries."""
