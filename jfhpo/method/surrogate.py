"""A Gaussian process over (φ, r, θ): hyperparameters, training steps and model size.

Notation
    x = [φ, s, m]   features of one observation, shape (D + 2,)
    φ               the configuration in the unit cube, D columns (`SearchSpace.encode`)
    s               log r / log r_max: a step early on changes more than one late
    m               log parameters of θ, 0 at the proxy and 1 at the target
    y               validation accuracy, standardised inside the model
    X, Y            n observations, shapes (n, D + 2) and (n, 1)

The kernel is a Matérn-5/2 with one length scale per column (ARD), so how far an observation on the proxy speaks for
the target is learned like everything else. Length scales have BoTorch's dimension-scaled log-normal prior (Hvarfner,
Hellsten and Nardi 2024); noise is homoscedastic and learned.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from gpytorch.mlls import ExactMarginalLogLikelihood

MAX_FIT_ITERATIONS = 75


@dataclass(frozen=True)
class Prediction:
    """Posterior of f_T and its tie to what a candidate would observe; each field of shape (n,)."""

    target_mean: np.ndarray
    target_sd: np.ndarray
    correlation: np.ndarray


class Surrogate:
    """A pure function of its data and of the hyperparameters it starts from."""

    def __init__(self, x: np.ndarray, y: np.ndarray, state: dict | None = None, fit: bool = True):
        """`x` (n, D + 2), `y` (n,). Hyperparameters start from another surrogate's `state`, and are fitted by
        maximum a posteriori unless `fit` is false."""
        self.x, self.y = x, y
        X, Y = torch.tensor(x, dtype=torch.double), torch.tensor(y, dtype=torch.double).unsqueeze(-1)
        kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=X.shape[1], use_rbf_kernel=False)
        self.model = SingleTaskGP(X, Y, covar_module=kernel, outcome_transform=Standardize(1))
        if state is not None:
            self.model.load_state_dict(self.model.state_dict() | state)
        if fit:
            self._fit()
        self.model.eval()

    def _fit(self) -> None:
        likelihood = ExactMarginalLogLikelihood(self.model.likelihood, self.model)
        with warnings.catch_warnings():
            # Stopping at the iteration limit is intended; BoTorch reports it as a warning.
            warnings.filterwarnings("ignore", module="botorch|gpytorch|linear_operator")
            fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": MAX_FIT_ITERATIONS}})

    def state(self) -> dict:
        """Hyperparameters, without the standardisation, which belongs to the data."""
        return {k: v for k, v in self.model.state_dict().items() if not k.startswith("outcome_transform")}

    def believing(self, x: np.ndarray) -> Surrogate:
        """The surrogate as if pending points had been observed at their posterior mean ("kriging believer",
        Ginsbourger, Le Riche and Carraro 2010), hyperparameters unchanged."""
        mean, _ = self.predict(x)
        return Surrogate(np.vstack([self.x, x]), np.concatenate([self.y, mean]), self.state(), fit=False)

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and standard deviation of f at each of n points, noise excluded; each (n,)."""
        posterior = self.model.posterior(torch.tensor(x, dtype=torch.double))
        return posterior.mean.squeeze(-1).numpy(), posterior.variance.clamp_min(0).sqrt().squeeze(-1).numpy()

    @torch.no_grad()
    def relate(self, target: np.ndarray, observed: np.ndarray) -> Prediction:
        """Posterior of f at each `target` point and its correlation with a noisy observation at the matching
        `observed` point; both (n, D + 2)."""
        pairs = torch.tensor(np.stack([target, observed], axis=1), dtype=torch.double)  # (n, 2, D + 2)
        posterior = self.model.posterior(pairs)
        covariance = posterior.distribution.covariance_matrix  # (n, 2, 2)
        var_target, var_observed = covariance[:, 0, 0].clamp_min(0), covariance[:, 1, 1].clamp_min(0)
        noise = self.model.likelihood.noise.item() * self.model.outcome_transform.stdvs.item() ** 2
        correlation = covariance[:, 0, 1] / (var_target * (var_observed + noise)).clamp_min(1e-18).sqrt()
        mean = posterior.mean[:, 0].squeeze(-1)
        return Prediction(mean.numpy(), var_target.sqrt().numpy(), correlation.clamp(-1, 1).numpy())

    def length_scales(self) -> list[float]:
        return self.model.covar_module.lengthscale.detach().squeeze(0).tolist()
