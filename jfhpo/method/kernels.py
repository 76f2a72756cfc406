"""Kernels over x = [φ, s, m]: how an observation at one fidelity speaks for another.

    matern            k(x, x')                                a column per fidelity like any other
    downsampling      σ² k([φ, m], [φ', m']) · (c + (1 − s)^(1+δ) (1 − s')^(1+δ))      (Wu et al. 2019)
    decay             σ² k([φ, m], [φ', m']) · (c + (1 + (s + s')/w)^(−α))             (Swersky et al. 2014, and
                      an offset c)
    linear_truncated  σ² (k₁(φ, φ') + b(s, m, s', m') k₂(φ, φ'))                       (BoTorch: the truth and a bias
                      that vanishes at full fidelity, as in Poloczek et al. 2017)

k, k₁ and k₂ are Matérn-5/2 with a length scale per column and a variance of 1. With s and m cut to [0, 1],

    b = (1 − s)(1 − s')(1 + ss')^p + (1 − m)(1 − m')(1 + mm')^p + (1 − s)(1 − s')(1 − m)(1 − m')(1 + ss' + mm')^p,

its first term alone where there is no m: 0 as soon as either point is at full fidelity, s = m = 1.

All but the first are BoTorch's (`botorch.models.kernels`). c, δ, w, α and p have the priors of its
`SingleTaskMultiFidelityGP`, as do the length scales of linear_truncated and its σ²; the σ² of the two products has
none. The other length scales have BoTorch's dimension-scaled log-normal prior (Hvarfner, Hellsten and Nardi 2024).
`experiments/fidelity_kernel` compares the kernels by the likelihood of held-out full runs.
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
