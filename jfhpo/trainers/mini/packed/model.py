"""The miniature policy for G trials at once: `jfhpo.trainers.mini.model` with a leading axis on every weight.

Matrix products run over all trials in one call; everything else does not know of trials. With G = 1 it is one model
read by the rows of many trials: the frozen reference, which they share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from jfhpo.trainers.mini.kernels import rotate, swiglu
from jfhpo.trainers.mini.model import NORM_EPS, Transformer
from jfhpo.trainers.mini.packed.layout import Reading, Rows


class RMSNorm(torch.autograd.Function):
    """`jfhpo.trainers.mini.kernels.RMSNorm` for x (G, R, d) and gains (G, 1, d)."""

    @staticmethod
    def forward(ctx, x: Tensor, gain: Tensor) -> Tensor:
        scale = torch.rsqrt(torch.linalg.vecdot(x, x).unsqueeze(-1).div_(x.shape[-1]).add_(NORM_EPS))
        normed = x * scale
        ctx.save_for_backward(normed, scale, gain)
        return normed * gain

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor, Tensor]:
        normed, scale, gain = ctx.saved_tensors
        dgain = (dy * normed).sum(1, keepdim=True)
        dn = dy * gain
        along = torch.linalg.vecdot(dn, normed).unsqueeze(-1).div_(normed.shape[-1])
        return dn.addcmul_(normed, along, value=-1).mul_(scale), dgain


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return RMSNorm.apply(x, gain)
    return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS).mul_(gain)


@dataclass(frozen=True)
class Block:
    """Weights of one layer; matrices (G, in, out), gains and biases (G, 1, width)."""

    norm_attention: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    norm_mlp: Tensor
    gate_up: Tensor
    down: Tensor

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values before rotation: (G, R, d) -> (G, R, 3·d)."""
        return torch.baddbmm(self.qkv_bias, rms_norm(x, self.norm_attention), self.qkv)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Residual connections and MLP: both arguments (G, R, d)."""
        x = torch.baddbmm(x, attended, self.out)
        return torch.baddbmm(x, swiglu(torch.bmm(rms_norm(x, self.norm_mlp), self.gate_up)), self.down)


class Policies:
    """G models of one shape on one device, views of their weights (G, W)."""

    def __init__(self, weights: Tensor, like: Transformer, rotation: Tensor):
        """`rotation` is the table of `like` on the weights' device."""
        sizes = [parameter.numel() for parameter in like.parameters()]
        found: dict[str, Tensor] = {}
        for (name, parameter), part in zip(like.named_parameters(), weights.split(sizes, 1), strict=True):
            shape = parameter.shape if parameter.dim() == 2 else (1, *parameter.shape)
            found[name] = part.view(-1, *shape)
        self.groups, self.shape, self.rotation = len(weights), like.shape, rotation
        self.embedding, self.norm, self.head = (found[name] for name in ("embedding", "norm", "head"))
        names = Block.__dataclass_fields__
        self.layers = [Block(*(found[f"layers.{i}.{n}"] for n in names)) for i in range(like.shape.layers)]
        self._table = self.embedding.reshape(-1, like.shape.width)

    def embed(self, tokens: Tensor, group: Tensor) -> Tensor:
        """Each token's row of its trial's table: both arguments (rows,), -> (rows, d)."""
        return F.embedding(tokens + group * self.shape.vocabulary, self._table)

    def logits(self, x: Tensor) -> Tensor:
        """(G, R, d) -> (G, R, V)."""
        return torch.bmm(rms_norm(x, self.norm), self.head)

    def hidden(self, rows: Rows, reading: Reading) -> Tensor:
        """Final hidden states of all rows, (rows, d)."""
        k, d, (H, h) = rows, self.shape.width, (self.shape.heads, self.shape.head_dim)
        rotation, prompt_rows = self.rotation[k.positions], k.Q * k.P
        x = reading.rows.fill(self.embed(k.tokens, reading.model))
        for layer in self.layers:
            qkv = rotate(reading.rows.rows(layer.project(x)).view(-1, 3, H, h), rotation)
            q, *kv = qkv[:prompt_rows].view(k.Q, k.P, 3, H, h).permute(2, 0, 3, 1, 4)  # each (Q, H, P, h)
            attended = [F.scaled_dot_product_attention(q, *kv, is_causal=True).transpose(1, 2).reshape(-1, d)]
            if len(k.kept):
                places = qkv.new_zeros(k.N * k.C, 3 * d).index_copy(0, k.kept, qkv[prompt_rows:].reshape(-1, 3 * d))
                q, *own = places.view(k.N, k.C, 3, H, h).permute(2, 0, 3, 1, 4)  # each (N, H, C, h)
                seen = [torch.cat([_repeated(p, k.prompt_of), o], dim=2) for p, o in zip(kv, own, strict=True)]
                out = F.scaled_dot_product_attention(q, *seen, attn_mask=k.visible)
                attended.append(out.transpose(1, 2).reshape(-1, d).index_select(0, k.kept))
            x = layer.finish(x, reading.rows.fill(torch.cat(attended)))
        return reading.rows.rows(x)

    def completion_logits(self, rows: Rows) -> Tensor:
        """Logits that predict each real completion token, (M, V), in the order of ``completions[mask]``. One model
        reads all rows, more than one each those of its trial."""
        reading = rows.together if self.groups == 1 else rows.by_trial
        x = _picked(self.hidden(rows, reading), rows.predictors)
        return reading.tokens.rows(self.logits(reading.tokens.fill(x)))


def _picked(x: Tensor, which: Tensor) -> Tensor:
    """Rows of x (rows, w), some more than once. The gradient of a look-up is summed in a fixed order on a GPU too; that
    of `index_select` is not."""
    return F.embedding(which, x)


def _repeated(x: Tensor, prompt_of: Tensor) -> Tensor:
    """Keys or values of prompts for each of their rollouts: (Q, H, P, h) -> (N, H, P, h)."""
    return _picked(x.reshape(len(x), -1), prompt_of).view(-1, *x.shape[1:])
