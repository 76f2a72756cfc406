"""Scaling laws of a reward curve: fits with their uncertainty, phases, and a forecast of the final reward.

Notation
    T       steps of a full run (the horizon); n steps of it have been seen, at least `LEAST`
    u       progress in [0, 1]. The reward of step t is that of the policy after t − 1 updates: u = (t − 1)/T
    R(u)    mean reward, R(u) = v₀ + (v∞ − v₀) h(u; θ): start v₀, plateau v∞, and a rise h from h(0) = 0 to h(∞) = 1
    θ       shape of the rise, on a grid of G points

    sigmoid             c + γ/(1 + exp(−δ(u − t₀)))      version 1; on one curve a·R₀ + b·size is a constant c
    saturation          R∞ (1 − exp(−u/τ))               version 2, to the letter: from a reward of zero
    offset_saturation   R₀ + (R∞ − R₀)(1 − exp(−u/τ))    the same from the reward that the run begins with
    hill                R₀ + (R∞ − R₀) u²/(k² + u²)      Hill curve, n = 2

The versions are those of Predictive Scaling Laws for Efficient GRPO Training (arXiv 2507.18014).

Given θ each law is linear in (v₀, v∞), so a fit is a grid over θ with linear least squares at every point (variable
projection, Golub and Pereyra 1973), inside the box of possible rewards: the global optimum up to the grid, the same
for the same data, with no starting point to choose. Huber's weights (1964) bound the pull of single odd steps.

A short curve leaves θ open, and the least-squares shape alone forecasts badly. A forecast is the mean over all shapes,
weighted by their likelihood under normal noise (uniform prior over the grid); its interval comes from a wild bootstrap
(Liu 1988). `jfhpo.dynamics.joint_law` fits one law to curves of several model sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jfhpo.core.errors import UsageError, unknown

LEAST = 8
"""Fewest steps that are fitted: two per parameter of the law with the most, the sigmoid."""
HUBER = 1.345
"""Residuals beyond so many standard deviations weigh less: 95 % efficient on normal noise."""
ROUNDS = 2
"""Of reweighting after the first fit."""
SLOW, RAPID, PLATEAU = "slow", "rapid", "plateau"
PHASE_SHARES = (0.1, 0.9)
"""Shares of its whole rise, from start to plateau, at which a curve leaves the slow phase and enters the plateau."""
TINY = 1e-12


@dataclass(frozen=True)
class Law:
    name: str
    rise: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """h: progress (n,) and shapes (G, k) -> (G, n), from 0 at u = 0 towards 1."""
    shapes: np.ndarray
    """The grid of θ, shape (G, k)."""
    from_zero: bool = False
    """Whether the curve starts at a reward of zero instead of a start of its own."""

    @property
    def parameters(self) -> int:
        return self.shapes.shape[1] + (1 if self.from_zero else 2)


def _exponential(u: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    return 1.0 - np.exp(-u / shapes)


def _hill(u: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    return u**2 / (u**2 + shapes**2)


def _sigmoid(u: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """From its own value at u = 0, which is above its lower asymptote, to 1."""
    steepness, midpoint = shapes[:, :1], shapes[:, 1:]
    below = 1.0 / (1.0 + np.exp(steepness * midpoint))
    return (1.0 / (1.0 + np.exp(-steepness * (u - midpoint))) - below) / (1.0 - below)


TIMES = np.geomspace(0.02, 3.0, 40)[:, None]
"""τ and k: from one step of fifty to a curve that is still almost straight at the end."""
SIGMOIDS = np.array([(d, t) for d in np.geomspace(2.0, 60.0, 14) for t in np.linspace(0.0, 1.2, 19)])
"""(δ, t₀): a rise over the whole run to one within three steps of fifty."""
LAWS = {
    law.name: law
    for law in (
        Law("sigmoid", _sigmoid, SIGMOIDS),
        Law("saturation", _exponential, TIMES, from_zero=True),
        Law("offset_saturation", _exponential, TIMES),
        Law("hill", _hill, TIMES),
    )
}
DEFAULT = "offset_saturation"
"""The one that forecasts best on recorded curves (`experiments/scaling_law`)."""
Range = tuple[float, float]
"""Least and greatest possible reward."""


@dataclass(frozen=True)
class Fit:
    """A law fitted to the first n rewards of a run of T steps."""

    law: Law
    horizon: int
    """T."""
    rewards: np.ndarray
    """Shape (n,)."""
    weights: np.ndarray
    """Of the steps in the least squares, shape (n,), at most 1."""
    box: Range
    start: np.ndarray
    """v₀ of every shape, (G,)."""
    plateau: np.ndarray
    """v∞ of every shape, (G,)."""
    likelihood: np.ndarray
    """Of every shape, (G,), scaled to add up to 1."""
    best: int
    """The shape of least squares."""
    noise: float
    """Standard deviation of a step's reward around the least-squares curve."""

    def curve(self, progress: np.ndarray) -> np.ndarray:
        """The least-squares curve R(u) at `progress` (m,); shape (m,)."""
        best = slice(self.best, self.best + 1)
        return _values(self.law.rise(progress, self.law.shapes[best]), self.start[best], self.plateau[best])[0]

    def expected(self, progress: np.ndarray) -> np.ndarray:
        """E[R(u)] over the shapes, at `progress` (m,); shape (m,)."""
        return self.likelihood @ _values(self.law.rise(progress, self.law.shapes), self.start, self.plateau)

    def remaining_gain(self) -> float:
        """E[R(1) − R(n/T)]: what the rest of the run is expected to add to the policy as it is now."""
        now, end = self.expected(np.array([len(self.rewards) / self.horizon, 1.0]))
        return float(end - now)

    def residuals(self) -> np.ndarray:
        """Of the least-squares curve, shape (n,)."""
        return self.rewards - self.curve(progress_of(len(self.rewards), self.horizon))

    def r2(self) -> float:
        """Share of the rewards' variance that the least-squares curve explains; NaN where they do not vary."""
        spread = float(np.sum((self.rewards - self.rewards.mean()) ** 2))
        return 1.0 - float(np.sum(self.residuals() ** 2)) / spread if spread > TINY else float("nan")


@dataclass(frozen=True)
class Forecast:
    """Of the mean reward over some steps."""

    mean: float
    low: float
    high: float
    """`low` to `high`: percentile interval of the wild bootstrap, noise of the steps included."""


@dataclass(frozen=True)
class Phases:
    """Progress u at which the slow phase ends and the plateau begins; None where that lies beyond the run."""

    slow_until: float | None
    plateau_from: float | None

    def at(self, progress: float) -> str:
        """``slow``, ``rapid`` or ``plateau``."""
        if self.slow_until is None or progress < self.slow_until:
            return SLOW
        return RAPID if self.plateau_from is None or progress < self.plateau_from else PLATEAU


def progress_of(steps: int, horizon: int) -> np.ndarray:
    """u of the rewards of steps 1, ..., `steps`."""
    return np.arange(steps) / horizon


def law_named(name: str) -> Law:
    """A law by its name, or a `UsageError` that names the nearest."""
    if name not in LAWS:
        raise unknown("scaling law", name, LAWS)
    return LAWS[name]


def fit(rewards: Sequence[float], horizon: int, law: str = DEFAULT, reward_range: Range | None = None) -> Fit:
    """Fit a law to the rewards of steps 1, ..., n of a run of `horizon` steps.

    Start and plateau lie in `reward_range`; without one, at most one span of the data beyond the data.

    Raises:
        UsageError: for an unknown law, fewer than `LEAST` steps or more than the horizon, a reward that is not finite
            or lies outside the range. Then there is no forecast.
    """
    form, y = law_named(law), np.asarray(rewards, dtype=float)
    box = _checked(y, horizon, reward_range)
    rise = form.rise(progress_of(len(y), horizon), form.shapes)
    weights = np.ones_like(y)
    for left in reversed(range(ROUNDS + 1)):
        start, plateau, squares = (found[0] for found in _least_squares(rise, y[None], weights, box, form.from_zero))
        best = int(squares.argmin())
        residuals = y - (start[best] + (plateau[best] - start[best]) * rise[best])
        if left:
            weights = _huber(residuals)
    freedom = len(y) - form.parameters
    likelihood = np.exp((squares[best] - squares) / (2.0 * max(float(squares[best]) / freedom, TINY)))
    noise = float(np.sqrt(np.sum(residuals**2) / freedom))
    return Fit(form, horizon, y, weights, box, start, plateau, likelihood / likelihood.sum(), best, noise)


def forecast(fitted: Fit, steps: Sequence[int], level: float = 0.8, draws: int = 200, seed: int = 0) -> Forecast:
    """The mean reward over `steps` (numbered from 1), with its interval at `level`.

    Wild bootstrap: residuals keep their place and draw a random sign, so that noise which differs along the curve
    does so in every draw; each draw is fitted anew. The interval knows nothing of a law that does not hold.
    """
    rng = np.random.default_rng(seed)
    form, n = fitted.law, len(fitted.rewards)
    at = (np.asarray(steps) - 1) / fitted.horizon
    seen, ahead = (form.rise(u, form.shapes) for u in (progress_of(n, fitted.horizon), at))
    residuals = fitted.residuals() * np.sqrt(n / (n - form.parameters))
    resampled = fitted.rewards - fitted.residuals() + residuals * rng.choice((-1.0, 1.0), (draws, n))
    start, plateau, squares = _least_squares(seen, resampled, fitted.weights, fitted.box, form.from_zero)
    drawn, best = np.arange(draws), squares.argmin(axis=1)
    finals = start[drawn, best] + (plateau[drawn, best] - start[drawn, best]) * ahead.mean(axis=1)[best]
    finals = finals + rng.normal(0.0, fitted.noise / np.sqrt(len(at)), draws)
    low, high = np.quantile(finals, [(1 - level) / 2, (1 + level) / 2])
    return Forecast(float(fitted.expected(at).mean()), float(low), float(high))


def phases(fitted: Fit, resolution: int = 1000) -> Phases:
    """Of the least-squares curve, to 1/`resolution` of the run; see `PHASE_SHARES`. A sigmoid starts slowly, an
    exponential saturation does not: its slow phase is a tenth of τ."""
    u = np.arange(resolution + 1) / resolution
    rise = fitted.law.rise(u, fitted.law.shapes[fitted.best : fitted.best + 1])[0]
    passed = [u[rise >= share] for share in PHASE_SHARES]
    return Phases(*(float(reached[0]) if len(reached) else None for reached in passed))


def _checked(y: np.ndarray, horizon: int, reward_range: Range | None) -> Range:
    """The box of start and plateau, or the reason why there is no fit."""
    if len(y) < LEAST:
        raise UsageError(f"a curve of {len(y)} steps is too short to fit: at least {LEAST}; there is no forecast")
    if len(y) > horizon:
        raise UsageError(f"horizon={horizon} must be at least the {len(y)} steps of the curve")
    if not np.isfinite(y).all():
        raise UsageError(f"the reward of step {int(np.argmin(np.isfinite(y))) + 1} is not finite")
    low, high = float(y.min()), float(y.max())
    if reward_range is None:
        return 2 * low - high, 2 * high - low
    if not reward_range[0] <= low <= high <= reward_range[1]:
        raise UsageError(f"rewards from {low:g} to {high:g} lie outside reward_range={list(reward_range)}")
    return reward_range


def _huber(residuals: np.ndarray) -> np.ndarray:
    """Weights: 1 up to `HUBER` standard deviations, estimated by the median absolute residual, then falling."""
    scale = max(1.4826 * float(np.median(np.abs(residuals))), TINY)
    return 1.0 / np.maximum(1.0, np.abs(residuals) / (HUBER * scale))


def _values(rise: np.ndarray, start: np.ndarray, plateau: np.ndarray) -> np.ndarray:
    """R of G shapes at m points, shape (G, m)."""
    return start[:, None] + (plateau - start)[:, None] * rise


def _least_squares(
    rise: np.ndarray, y: np.ndarray, weights: np.ndarray, box: Range, from_zero: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, plateau and weighted sum of squares of every shape for each of B curves: `rise` (G, n), `y` (B, n),
    `weights` (n,); three arrays of shape (B, G).

    R = v₀ a + v∞ b with a = 1 − h and b = h. The sum of squares is convex in (v₀, v∞): where its minimum lies outside
    the box, the least on the box is the least on one of its edges.
    """
    a, b, weighted = (np.zeros_like(rise) if from_zero else 1.0 - rise), rise, y * weights
    aa, ab, bb = (a * a) @ weights, (a * b) @ weights, (b * b) @ weights
    ay, by, yy = weighted @ a.T, weighted @ b.T, np.sum(weighted * y, axis=1, keepdims=True)
    along_a, along_b = np.maximum(aa, TINY), np.maximum(bb, TINY)

    def squares(start: np.ndarray, plateau: np.ndarray) -> np.ndarray:
        both = start * start * aa + 2.0 * start * plateau * ab + plateau * plateau * bb
        return yy - 2.0 * (start * ay + plateau * by) + both

    if from_zero:
        start, plateau = np.zeros_like(by), np.clip(by / along_b, *box)
        return start, plateau, squares(start, plateau)
    determinant = aa * bb - ab * ab
    solvable = determinant > TINY * aa * bb
    safe = np.where(solvable, determinant, 1.0)
    start, plateau = (ay * bb - by * ab) / safe, (by * aa - ay * ab) / safe
    low, high = box
    inside = solvable & (start >= low) & (start <= high) & (plateau >= low) & (plateau <= high)
    least = np.where(inside, squares(start, plateau), np.inf)
    if inside.all():
        return start, plateau, least
    for edge in box:
        for on_start, on_plateau in (
            (np.full_like(start, edge), np.clip((by - edge * ab) / along_b, low, high)),
            (np.clip((ay - edge * ab) / along_a, low, high), np.full_like(start, edge)),
        ):
            found = squares(on_start, on_plateau)
            better = found < least
            start, plateau = np.where(better, on_start, start), np.where(better, on_plateau, plateau)
            least = np.where(better, found, least)
    return start, plateau, least
