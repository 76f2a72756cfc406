"""A Gaussian process over (φ, r, θ): hyperparameters, training steps and model size.

Notation
    x = [φ, s, m]   features of one observation, shape (D,); without m where there is one size only
    φ               the configuration in the unit cube (`SearchSpace.encode`)
    s               log r / log r_max: a step early on changes more than one late
    m               log parameters of θ, 0 at the proxy and 1 at the target
    y               validation accuracy; inside, standardised to mean 0 and standard deviation 1
    X, Y            n observations, shapes (n, D) and (n,)
    k, σ²           kernel (`jfhpo.method.kernels`) and noise variance, homoscedastic and learned
    L               Cholesky factor of k(X, X) + σ²I, shape (n, n)
    α               (k(X, X) + σ²I)⁻¹ (Y − mean), shape (n,)

Hyperparameters are BoTorch's maximum a posteriori fit of a `SingleTaskGP`. The posterior is the textbook's
(Rasmussen and Williams 2006, Algorithm 2.1), from one L that is kept: a proposal asks for it some hundred times.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.settings import lazily_evaluate_kernels
from linear_operator import to_dense
from torch import Tensor

from jfhpo.method.kernels import fidelity_kernel

MAX_FIT_ITERATIONS = 75
FIT_TOLERANCE = 1e-6
"""A step that raises the marginal likelihood by less, in nats per observation, ends a fit: below it, length scales that
do not matter drift on for half as many steps again."""
MAX_FIT_ROWS = 300
"""Hyperparameters are fitted to so many observations at most, evenly spaced in the order of telling: a handful of
numbers is known well enough from them, and a fit costs n³. The posterior is always conditioned on all."""
JITTER = 1e-8


@dataclass(frozen=True)
class Joint:
    """Posterior of pairs (f_T, y): the accuracy that counts, and what a candidate trial would show, noise included.
    Fields of shape (b,), in units of y; differentiable."""

    target_mean: Tensor
    target_sd: Tensor
    correlation: Tensor


class Surrogate:
    """A pure function of its data and of the hyperparameters it starts from."""

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        state: dict | None = None,
        fit: bool = True,
        kernel: str = "matern",
        steps: int = -2,
    ):
        """`x` (n, D), `y` (n,). Hyperparameters start from another surrogate's `state`, and are fitted unless `fit`
        is false. `steps` is the column of s."""
        self.x, self.y, self.kernel, self.steps = x, y, kernel, steps
        self._centre, self._scale = float(np.mean(y)), float(np.std(y, ddof=1)) or 1.0
        self._X = torch.tensor(x, dtype=torch.double)
        Y = torch.tensor((y - self._centre) / self._scale, dtype=torch.double)
        rows = _spaced(len(y)) if fit else slice(0, 2)
        columns = x.shape[1]
        self.model = SingleTaskGP(
            self._X[rows],
            Y[rows, None],
            covar_module=fidelity_kernel(kernel, columns, steps % columns),
            outcome_transform=None,
        )
        if state is not None:
            self.model.load_state_dict(state)
        if fit:
            self._fit()
        self.model.eval().requires_grad_(False)
        self._condition(Y)

    def _fit(self) -> None:
        likelihood = ExactMarginalLogLikelihood(self.model.likelihood, self.model)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # A fit that fails is tried again from a draw of the priors, out of torch's global generator.
            torch.manual_seed(0)
            # Stopping at the iteration limit is intended; BoTorch reports it as a warning.
            warnings.filterwarnings("ignore", module="botorch|gpytorch|linear_operator")
            options = {"maxiter": MAX_FIT_ITERATIONS, "ftol": FIT_TOLERANCE}
            with _eagerly():
                fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": options})

    @torch.no_grad()
    def _condition(self, Y: Tensor) -> None:
        """L and α."""
        self._noise = self.model.likelihood.noise.item()
        self._mean = self.model.mean_module.constant.item()
        K = self._k(self._X, self._X)
        K.diagonal().add_(self._noise + JITTER)
        self._L = torch.linalg.cholesky(K)
        self._alpha = torch.cholesky_solve((Y - self._mean).unsqueeze(-1), self._L).squeeze(-1)

    def _k(self, a: Tensor, b: Tensor, diag: bool = False) -> Tensor:
        with _eagerly():
            return to_dense(self.model.covar_module(a, b, diag=diag))

    def state(self) -> dict:
        """Hyperparameters, without the data."""
        return self.model.state_dict()

    def believing(self, x: np.ndarray) -> Surrogate:
        """The surrogate as if pending points had been observed at their posterior mean ("kriging believer",
        Ginsbourger, Le Riche and Carraro 2010), hyperparameters unchanged."""
        mean, _ = self.predict(x)
        x, y = np.vstack([self.x, x]), np.concatenate([self.y, mean])
        return Surrogate(x, y, self.state(), False, self.kernel, self.steps)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (b,) and standard deviation (b,) of f at `x` (b, D), noise excluded; differentiable."""
        cross = self._k(x, self._X)  # (b, n)
        mean = self._mean + cross @ self._alpha
        white = torch.linalg.solve_triangular(self._L, cross.T, upper=False)  # (n, b)
        prior = self._k(x, x, diag=True)
        variance = prior - white.square().sum(0)
        return self._centre + self._scale * mean, self._scale * variance.clamp_min(1e-12).sqrt()

    def joint(self, target: Tensor, observed: Tensor) -> Joint:
        """Posterior of f at each `target` point and its correlation with a noisy observation at the matching
        `observed` point; both (b, D)."""
        b = len(target)
        both = torch.cat([target, observed])  # (2b, D)
        cross = self._k(both, self._X)  # (2b, n)
        white = torch.linalg.solve_triangular(self._L, cross.T, upper=False)  # (n, 2b)
        prior = self._k(both, both, diag=True)
        variance = (prior - white.square().sum(0)).clamp_min(1e-12)
        between = self._k(target, observed, diag=True)
        covariance = between - (white[:, :b] * white[:, b:]).sum(0)
        correlation = covariance / (variance[:b] * (variance[b:] + self._noise)).sqrt()
        mean = self._mean + cross[:b] @ self._alpha
        return Joint(self._centre + self._scale * mean, self._scale * variance[:b].sqrt(), correlation.clamp(-1.0, 1.0))

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`posterior` in numpy."""
        mean, sd = self.posterior(torch.tensor(x, dtype=torch.double))
        return mean.numpy(), sd.numpy()

    def log_likelihood(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Log density of each new observation `y` (b,) at `x` (b, D), noise included, in nats; shape (b,)."""
        mean, sd = self.predict(x)
        variance = sd**2 + self._noise * self._scale**2
        return -0.5 * (np.log(2 * np.pi * variance) + (y - mean) ** 2 / variance)

    def description(self) -> dict[str, list[float]]:
        """The kernel's parameters and the noise's standard deviation in units of y, for people to read."""
        found = {}
        for raw, _ in self.model.covar_module.named_parameters():
            module, _, own = raw.rpartition(".")
            value = getattr(self.model.covar_module.get_submodule(module), own.removeprefix("raw_"))
            found[".".join(filter(None, [module, own.removeprefix("raw_")]))] = value.flatten().tolist()
        return found | {"noise_sd": [self.noise_sd()]}

    def noise_sd(self) -> float:
        """Standard deviation of an observation's noise, in units of y."""
        return self._scale * self._noise**0.5


def _eagerly() -> lazily_evaluate_kernels:
    """Kernels as matrices at once: laziness saves memory at sizes that no study reaches, and costs time."""
    return lazily_evaluate_kernels(False)


def _spaced(n: int) -> np.ndarray:
    """At most `MAX_FIT_ROWS` of n rows, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_FIT_ROWS)).round().astype(int))
