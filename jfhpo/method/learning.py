"""When the surrogate learns: conditioned on every result, its hyperparameters fitted again only when that pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jfhpo.method.features import Features
from jfhpo.method.observations import Candidate, Observations

if TYPE_CHECKING:
    from jfhpo.method.surrogate import Surrogate

REFIT_GROWTH = 1.2
"""Growth of the data after which hyperparameters are fitted again. A fit costs as much as several proxy steps, and
between two fits a few more observations hardly move it."""


class Learner:
    """Holds the surrogate. It changes when something is learned and at no other time, so that looking changes
    nothing."""

    def __init__(self, features: Features, kernel: str, failures: str):
        self.features, self.kernel, self.failures = features, kernel, failures
        self.surrogate: Surrogate | None = None
        """None until two scores are known."""
        self._fitted_to = 0
        """Observations that the hyperparameters were last fitted to."""

    def learn(self, seen: Observations) -> None:
        """Condition the surrogate on everything seen. Hyperparameters are fitted again, from where they stood,
        whenever the data grew by a fifth."""
        # BoTorch takes seconds to import: not before there is something to fit, and never for the other methods.
        from jfhpo.method.surrogate import Surrogate

        rows, y = seen.usable(self.failures)
        if sum(row.y is not None for row in rows) < 2:
            return
        before = self.surrogate and self.surrogate.state()
        fit = len(rows) >= REFIT_GROWTH * self._fitted_to
        x = self.features([r.config for r in rows], [r.steps for r in rows], [r.model for r in rows])
        self.surrogate = Surrogate(x, y, before, fit, self.kernel, self.features.steps_column)
        if fit:
            self._fitted_to = len(rows)

    def believing(self, pending: Sequence[Candidate]) -> Surrogate | None:
        """The surrogate as if every pending trial had shown what is expected of it."""
        if self.surrogate is None or not pending:
            return self.surrogate
        return self.surrogate.believing(self.x(pending))

    def x(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """What candidates would observe, shape (n, D)."""
        return self.features(
            [c.config for c in candidates], [c.steps for c in candidates], [c.model for c in candidates]
        )
