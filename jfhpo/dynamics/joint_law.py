"""One scaling law for curves of several model sizes (arXiv 2507.18014), to foretell a size that was not trained.

    version 1   R(u) = a R₀ + b s + γ/(1 + exp(−δ(u − t₀)))
    version 2   R(u) = R∞ (1 − exp(−u/τ(s))),  log τ = α + κ (s − s̄)
    with R₀     R(u) = R₀ + (R∞ − R₀)(1 − exp(−u/τ(s)))

u is progress as in `jfhpo.dynamics.scaling_law`, s the model size on the scale that the caller gives (which one the
paper takes is not known; here it is the decimal logarithm of the parameters), s̄ its mean over the curves, R₀ the run's
initial reward. How τ depends on the size is not known of the paper either: a power of the parameters. Least squares
over all points of all curves, by variable projection on a grid of (δ, t₀) or (α, κ).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jfhpo.core.errors import UsageError
from jfhpo.dynamics.scaling_law import SIGMOIDS, TIMES, progress_of

POWERS = np.linspace(-3.0, 3.0, 25)
"""κ, per unit of s."""


@dataclass(frozen=True)
class SizedCurve:
    rewards: np.ndarray
    """Of steps 1, 2, ...; shape (n,)."""
    horizon: int
    size: float
    initial: float
    """R₀."""


@dataclass(frozen=True)
class JointSigmoid:
    """Version 1."""

    of_initial: float
    of_size: float
    amplitude: float
    steepness: float
    midpoint: float

    def __call__(self, progress: np.ndarray, size: float | np.ndarray, initial: float | np.ndarray) -> np.ndarray:
        """R at `progress` (m,) of a model of this size, or of one size each; shape (m,)."""
        rise = 1.0 / (1.0 + np.exp(-self.steepness * (progress - self.midpoint)))
        return self.of_initial * initial + self.of_size * size + self.amplitude * rise


@dataclass(frozen=True)
class JointSaturation:
    """Version 2, or the same from R₀."""

    plateau: float
    time: float
    """τ at the mean size."""
    power: float
    mean_size: float
    from_initial: bool

    def __call__(self, progress: np.ndarray, size: float, initial: float) -> np.ndarray:
        """R at `progress` (m,) of a model of this size; shape (m,)."""
        left = np.exp(-progress / (self.time * np.exp(self.power * (size - self.mean_size))))
        return self.plateau * (1.0 - left) + (initial * left if self.from_initial else 0.0)


def fit_sigmoid(curves: Sequence[SizedCurve]) -> JointSigmoid:
    """Least squares of version 1; a `UsageError` for curves of one size only."""
    return sigmoid_through(*_points(curves))


def sigmoid_through(u: np.ndarray, y: np.ndarray, size: np.ndarray, initial: np.ndarray) -> JointSigmoid:
    """Least squares of version 1 through single points: progress, reward, size and R₀, each of shape (n,)."""
    least, found = np.inf, None
    for steepness, midpoint in SIGMOIDS:
        columns = np.column_stack([initial, size, 1.0 / (1.0 + np.exp(-steepness * (u - midpoint)))])
        weights = np.linalg.lstsq(columns, y, rcond=None)[0]
        squares = float(np.sum((y - columns @ weights) ** 2))
        if squares < least:
            least, found = squares, (*weights, steepness, midpoint)
    return JointSigmoid(*map(float, found))


def fit_saturation(curves: Sequence[SizedCurve], from_initial: bool = False) -> JointSaturation:
    """Least squares of version 2, or of the same from R₀; a `UsageError` for curves of one size only."""
    u, y, size, initial = _points(curves)
    centred = size - size.mean()
    least, found = np.inf, None
    for power in POWERS:
        left = np.exp(-u / (TIMES * np.exp(power * centred)))  # (grid of τ, points)
        wanted = y - initial * left if from_initial else np.broadcast_to(y, left.shape)
        risen = 1.0 - left
        plateau = np.sum(risen * wanted, axis=1) / np.sum(risen * risen, axis=1)
        squares = np.sum((wanted - plateau[:, None] * risen) ** 2, axis=1)
        best = int(squares.argmin())
        if squares[best] < least:
            least, found = squares[best], (plateau[best], TIMES[best, 0], power)
    return JointSaturation(*map(float, found), float(size.mean()), from_initial)


def _points(curves: Sequence[SizedCurve]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Progress, reward, size and R₀ of every point of every curve, each of shape (points,)."""
    sizes = sorted({curve.size for curve in curves})
    if len(sizes) < 2:
        raise UsageError(f"a joint law needs curves of two model sizes; there is {len(sizes)}: {sizes}")
    lengths = [len(curve.rewards) for curve in curves]
    return (
        np.concatenate([progress_of(len(curve.rewards), curve.horizon) for curve in curves]),
        np.concatenate([curve.rewards for curve in curves]),
        np.repeat([curve.size for curve in curves], lengths),
        np.repeat([curve.initial for curve in curves], lengths),
    )
