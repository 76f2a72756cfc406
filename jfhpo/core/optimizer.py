"""What proposes trials. A method is one class with three verbs: ask, tell, recommend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from jfhpo.core.problem import Problem
from jfhpo.core.trial import Config, Trial, TrialResult


class Optimizer(ABC):
    """Any number of trials may be pending (asked, not told). All randomness comes from `seed`; nothing touches
    global state, so the same seed and the same results give the same proposals: that is how a study resumes."""

    name: ClassVar[str]
    """What the user types: ``method=<name>``."""
    Settings: ClassVar[type]
    """A dataclass of the method's settings with their defaults; its fields are the valid ``method.<key>``."""
    early_stopping: str = "none"
    """Preset of `jfhpo.dynamics.early_stopping` that watches this method's trials."""
    planned: int | None = None
    """Trials that it will ask for, where that is known beforehand: progress is then counted by it."""
    checkpoint_reuse: bool = False
    """Whether the final run on the target may start from a shorter run of the same configuration there."""

    def __init__(self, problem: Problem, *, seed: int, settings: Any = None):
        self.problem = problem
        self.seed = seed
        self.settings = settings if settings is not None else self.Settings()

    @abstractmethod
    def ask(self) -> Trial | None:
        """The next trial, or None: nothing to run until a pending trial is told (or ever, if none is pending)."""

    @abstractmethod
    def tell(self, result: TrialResult) -> None:
        """Learn from a finished trial. Results may come in any order, failed and cut ones too."""

    @abstractmethod
    def recommend(self) -> Config:
        """The configuration to train on the target at full steps."""

    def summary(self) -> dict[str, Any]:
        """What the method wants to be read beside its result, e.g. the posterior at its recommendation."""
        return {}
