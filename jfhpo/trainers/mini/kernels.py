"""The three element-wise pieces of the decoder, with hand-written gradients.

At widths of 32 to 128 a step is bound by memory traffic and by the number of operator calls, not by arithmetic: one
fused backward instead of autograd's chain saves a third of both. Checked against autograd in
``tests/trainers/mini/test_kernels.py``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


class RMSNorm(torch.autograd.Function):
    """y = g · x / sqrt(mean(x²) + ε) for x of shape (rows, d) and gain g of shape (d,) (Zhang and Sennrich 2019)."""

    @staticmethod
    def forward(ctx, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        scale = torch.rsqrt(torch.linalg.vecdot(x, x).unsqueeze(-1).div_(x.shape[-1]).add_(eps))
        normed = x * scale
        ctx.save_for_backward(normed, scale, gain)
        return normed * gain

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, scale, gain = ctx.saved_tensors
        dgain = (dy * normed).sum(0)
        dn = dy * gain
        along = torch.linalg.vecdot(dn, normed).unsqueeze(-1).div_(normed.shape[-1])
        return dn.addcmul_(normed, along, value=-1).mul_(scale), dgain, None


class SwiGLU(torch.autograd.Function):
    """y = silu(a) · b for x = [a | b] of shape (rows, 2·ff) (Shazeer 2020)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        silu = F.silu(a)
        ctx.save_for_backward(x, silu)
        return silu * b

    @staticmethod
    def backward(ctx, dy: Tensor) -> Tensor:
        x, silu = ctx.saved_tensors
        a, b = x.chunk(2, -1)
        dx = torch.empty_like(x)
        da, db = dx.chunk(2, -1)
        torch.mul(dy, silu, out=db)
        torch.ops.aten.silu_backward.grad_input(dy * b, a, grad_input=da)
        return dx


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """`RMSNorm`, without its bookkeeping where no gradient is wanted."""
    if torch.is_grad_enabled():
        return RMSNorm.apply(x, gain, eps)
    return F.rms_norm(x, gain.shape, gain, eps)


def swiglu(x: Tensor) -> Tensor:
    """`SwiGLU`, without its bookkeeping where no gradient is wanted."""
    if torch.is_grad_enabled():
        return SwiGLU.apply(x)
    a, b = x.chunk(2, -1)
    return F.silu(a).mul_(b)


def rotary_table(head_dim: int, positions: int, base: float) -> Tensor:
    """Unit complex numbers e^{i·p·θ_j} for queries and keys, and 1 for values: (positions, 3, 1, head_dim / 2)
    (RoPE: Su et al. 2021, eq. 34). Multiplying all three at once costs less than taking them apart."""
    frequencies = base ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.arange(positions, dtype=torch.float32)[:, None] * frequencies
    rotation = torch.polar(torch.ones_like(angles), angles)
    return torch.stack([rotation, rotation, torch.ones_like(rotation)], dim=1).unsqueeze(2)


def rotate(qkv: Tensor, rotation: Tensor) -> Tensor:
    """Rotate neighbouring pairs of qkv (rows, 3, heads, head_dim) by rows of the table.

    Pairs are neighbours here (one complex product) and halves in Hugging Face models; `jfhpo.trainers.mini.hf`
    permutes the weights between the two, which are otherwise the same model.
    """
    return torch.view_as_real(torch.view_as_complex(qkv.unflatten(-1, (-1, 2))) * rotation).flatten(-2)
