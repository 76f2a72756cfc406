"""What a method knows that trains every configuration in full on the target."""

from __future__ import annotations

from jfhpo.core.trial import Config, Status, TrialResult


class FullRuns:
    """Results by trial, so that it does not matter in which order they were told.

    A run that was stopped early counts with the score that it had then, since a rule has judged it. A run that the
    budget cut says nothing: its score is that of a shorter run.
    """

    def __init__(self) -> None:
        self._results: dict[int, TrialResult] = {}

    def add(self, result: TrialResult) -> None:
        if result.status is not Status.CUT:
            self._results[result.trial.id] = result

    def told(self) -> list[tuple[Config, float | None]]:
        """Configurations in the order in which they were asked, with their scores; None where the trial failed."""
        return [(self._results[i].trial.config, self._results[i].score) for i in sorted(self._results)]

    def best(self) -> Config | None:
        """The configuration of the completed run with the best score, the one asked first among equals."""
        completed = [self._results[i] for i in sorted(self._results) if self._results[i].status is Status.COMPLETED]
        return max(completed, key=lambda result: result.score).trial.config if completed else None
