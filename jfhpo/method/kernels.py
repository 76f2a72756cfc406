"""Kernels over x = [φ, s, m]: how an observation at one fidelity speaks for another.

    matern            k(x, x') = Matérn-5/2 with a length scale per column: fidelities are columns like any other
    downsampling      Matérn-5/2(φ, m) · (c + (1 − s)^(1+δ) (1 − s')^(1+δ))            (Wu et al. 2019, eq. 8)
    decay             Matérn-5/2(φ, m) · (c + (1 + (s + s')/w)^(−α))                    (Swersky et al. 2014, eq. 6)
    linear_truncated  k₁(φ) + b(s, m, s', m') k₂(φ), both Matérn-5/2, b = 0 at full fidelity  (BoTorch; after Poloczek
                      et al. 2017)

All but the first are BoTorch's, with BoTorch's priors on their own parameters. `experiments/fidelity_kernel` compares
them by the likelihood of held-out full runs. Length scales have BoTorch's dimension-scaled log-normal prior
(Hvarfner, Hellsten and Nardi 2024).
"""

from __future__ import annotations

from botorch.models.kernels import DownsamplingKernel, ExponentialDecayKernel, LinearTruncatedFidelityKernel
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from gpytorch.kernels import Kernel, ScaleKernel
from gpytorch.priors import GammaPrior


def fidelity_kernel(name: str, columns: int, steps: int) -> Kernel:
    """A kernel by name over `columns` features, of which number `steps` is s; a later column, if any, is m."""
    if name == "matern":
        return _matern(columns)
    if name == "linear_truncated":
        truncated = LinearTruncatedFidelityKernel(
            fidelity_dims=list(range(steps, columns)), dimension=columns, nu=2.5, power_prior=GammaPrior(3.0, 3.0)
        )
        return ScaleKernel(truncated, outputscale_prior=GammaPrior(2.0, 0.15))
    own = {"offset_prior": GammaPrior(3.0, 6.0), "power_prior": GammaPrior(3.0, 6.0), "active_dims": [steps]}
    if name == "downsampling":
        over_steps: Kernel = DownsamplingKernel(**own)
    elif name == "decay":
        over_steps = ExponentialDecayKernel(lengthscale_prior=GammaPrior(3.0, 6.0), **own)
    else:
        raise ValueError(f"no kernel {name!r}; there are {', '.join(KERNELS)}")
    others = [column for column in range(columns) if column != steps]
    return ScaleKernel(_matern(len(others), active_dims=others) * over_steps)


def _matern(columns: int, active_dims: list[int] | None = None) -> Kernel:
    return get_covar_module_with_dim_scaled_prior(columns, use_rbf_kernel=False, active_dims=active_dims)


KERNELS = ("matern", "downsampling", "decay", "linear_truncated")
