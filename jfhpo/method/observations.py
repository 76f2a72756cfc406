"""What a method has seen: every validation of every curve, which runs can go on, and which configurations failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from jfhpo.core.problem import Problem
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Status, TrialResult


@dataclass(frozen=True)
class Candidate:
    """A trial that might be run."""

    config: Config
    """φ, its learning rate as on the target."""
    model: str
    steps: int
    paid: int
    """Steps that a checkpoint holds."""


@dataclass(frozen=True)
class Row:
    """One observation: accuracy y of φ after r steps on θ."""

    config: Config
    steps: int
    model: str
    y: float | None
    """None for a failure."""


@dataclass
class Observations:
    problem: Problem
    stops_are_final: bool = True
    """Whether a run that a rule stopped is told as staying where it stopped, at full steps too."""
    tried: dict[str, Config] = field(default_factory=dict)
    """Configurations with at least one observation, by key, in order of trying."""
    reached: dict[tuple[str, str], int] = field(default_factory=dict)
    """Steps trained of (configuration, model)."""
    closed: set[tuple[str, str]] = field(default_factory=set)
    """(configuration, model) that was stopped: not to be continued there."""
    failed: set[str] = field(default_factory=set)
    """Configurations that failed on some model: not to be tried on any other."""
    rows: list[Row] = field(default_factory=list)
    _seen: set[tuple[str, str, int]] = field(default_factory=set)
    """(configuration, model, steps) of the rows, so that a resumed curve is not told twice."""

    def add(self, candidate: Candidate, result: TrialResult) -> None:
        """Every validation of the curve that was not told before, and what an early stop or a failure means."""
        config, model, key = candidate.config, candidate.model, config_key(candidate.config)
        if result.status is Status.FAILED:
            self.failed.add(key)
            self.tried.setdefault(key, config)
            self.rows.append(Row(config, candidate.steps, model, None))
            return
        self.reached[key, model] = max(self.reached.get((key, model), 0), result.steps_done)
        found = dict(result.validations())
        if result.score is not None:
            found[result.steps_done] = result.score
        if result.status is Status.EARLY_STOPPED:
            self.closed.add((key, model))
            if self.stops_are_final and result.score is not None:
                found[self.problem.max_steps] = result.score
        if found:
            self.tried.setdefault(key, config)
        for step, y in found.items():
            if (key, model, step) not in self._seen:
                self._seen.add((key, model, step))
                self.rows.append(Row(config, step, model, y))

    def scored(self) -> list[Config]:
        """Every configuration with a score; one that failed on some model only where there is no other."""
        keys = {config_key(row.config) for row in self.rows if row.y is not None}
        return [self.tried[key] for key in self.tried if key in (keys - self.failed or keys)]

    def best(self) -> Config | None:
        """The configuration of the best score of all; the first of equals."""
        known = [row for row in self.rows if row.y is not None]
        return max(known, key=lambda row: row.y).config if known else None

    def best_at_most_steps(self, configs: Sequence[Config]) -> Row:
        """Of these configurations, the row of the best score among those at the most steps that any reached."""
        keys = {config_key(config) for config in configs}
        known = [row for row in self.rows if row.y is not None and config_key(row.config) in keys]
        most = max(row.steps for row in known)
        return max((row for row in known if row.steps == most), key=lambda row: row.y)

    def usable(self, failures: str) -> tuple[list[Row], np.ndarray]:
        """Rows and their y (n,) for the surrogate. A failure counts as the worst score seen (``worst``): never good,
        and no cliff that would bend the whole surface; or it is left out (``ignore``)."""
        scores = [row.y for row in self.rows if row.y is not None]
        kept = [row for row in self.rows if row.y is not None or (failures == "worst" and scores)]
        return kept, np.array([min(scores) if row.y is None else row.y for row in kept])

    def continuations(
        self, models: Sequence[str], busy: set[tuple[str, str]], reuse: bool, every_rung: bool = False
    ) -> list[Candidate]:
        """Every evaluated configuration on each model at the next rung it has not reached there, or at every such
        rung, but those that failed, were stopped or are running."""
        out = []
        for key, config in self.tried.items():
            if key in self.failed:
                continue
            for model in models:
                if (key, model) in self.closed or (key, model) in busy:
                    continue
                paid = self.reached.get((key, model), 0)
                ahead = [r for r in self.problem.rungs if r > paid]
                wanted = ahead if every_rung else ahead[:1]
                out += [Candidate(config, model, r, paid if reuse else 0) for r in wanted]
        return out
