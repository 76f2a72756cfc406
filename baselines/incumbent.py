"""What a method without a model of its own recommends: the best of what it evaluated."""

from __future__ import annotations

from jfhpo.core.trial import Config, Status, TrialResult


class Incumbent:
    """The configuration of the best validation score at the largest number of steps that any run completed.

    Scores of runs that were stopped early or cut stand for fewer steps than were asked for: they count only while no
    run was completed. For methods that train one model size. The first of equals is kept.
    """

    def __init__(self, config: Config):
        self.config = config
        """Until a score is known, what was passed."""
        self._rank = (-1, 0.0)

    def observe(self, result: TrialResult) -> None:
        if result.score is None:
            return
        completed = result.steps_done if result.status is Status.COMPLETED else 0
        if (completed, result.score) > self._rank or self._rank[0] < 0:
            self._rank, self.config = (completed, result.score), result.trial.config
