"""The miniature policy: a Qwen2-architecture decoder that trains and samples fast on one CPU core.

Three things make it fast, none of which changes a number beyond rounding (tested against transformers' Qwen2):
the prompt of a group is computed once, not once per rollout; completions carry no padding through the matrix
products; and sampling writes into a preallocated KV cache from which finished rollouts are dropped.

Notation: B prompts of P tokens, n rollouts each, N = B·n completions of at most C tokens, M real completion tokens
in all, width d, H heads of dimension h, vocabulary V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jfhpo.trainers.mini.kernels import rms_norm, rotary_table, rotate, swiglu

ROPE_BASE = 10_000.0
NORM_EPS = 1e-6
MAX_POSITIONS = 128


@dataclass(frozen=True)
class ModelShape:
    width: int
    layers: int
    heads: int
    ff: int
    vocabulary: int

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


class Layer(nn.Module):
    """Weights of one block, stored (in, out) so that a row vector multiplies from the left."""

    def __init__(self, shape: ModelShape, generator: torch.Generator):
        super().__init__()
        d, ff = shape.width, shape.ff

        def init(rows: int, columns: int, gain: float = 1.0) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=generator) * (gain / math.sqrt(rows)))

        residual_gain = 1 / math.sqrt(2 * shape.layers)  # keeps the residual stream's variance near 1 with depth
        self.norm_attention = nn.Parameter(torch.ones(d))
        self.qkv = init(d, 3 * d)
        self.qkv_bias = nn.Parameter(torch.zeros(3 * d))
        self.out = init(d, d, residual_gain)
        self.norm_mlp = nn.Parameter(torch.ones(d))
        self.gate_up = init(d, 2 * ff)
        self.down = init(ff, d, residual_gain)

    def project(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Rotated queries and keys, and values: (rows, d) -> (rows, 3, H, h); rotation (rows or 1, 3, 1, h/2)."""
        qkv = torch.addmm(self.qkv_bias, rms_norm(x, self.norm_attention, NORM_EPS), self.qkv)
        return rotate(qkv.view(len(x), 3, -1, 2 * rotation.shape[-1]), rotation)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Residual connections and MLP: both arguments (rows, d)."""
        x = x + attended @ self.out
        return x + swiglu(rms_norm(x, self.norm_mlp, NORM_EPS) @ self.gate_up) @ self.down


class Packing:
    """Where the tokens of B prompts and their N completions lie among the rows that are really computed.

    Rows are the B·P prompt tokens, then every completion token that another one follows. `mask` (N, C) is true on
    real completion tokens, end-of-sequence included.
    """

    def __init__(self, prompts: Tensor, completions: Tensor, mask: Tensor):
        (B, P), (N, C) = prompts.shape, completions.shape
        self.B, self.P, self.N, self.C, self.n = B, P, N, C - 1, N // B
        followed = mask[:, 1:]
        self.kept = followed.reshape(-1).nonzero().squeeze(1)  # row -> place in the padded (N, C - 1) grid
        self.tokens = torch.cat([prompts.reshape(-1), completions[:, :-1].reshape(-1)[self.kept]])
        self.positions = torch.cat([torch.arange(P).repeat(B), P + self.kept % max(self.C, 1)])
        # The row whose hidden state predicts each real token: the prompt's last for a first token, else the one before.
        before = torch.empty(N, C, dtype=torch.long)
        before[:, 0] = (torch.arange(N) // self.n) * P + P - 1
        before[:, 1:][followed] = B * P + torch.arange(len(self.kept))
        self.predictors = before[mask]
        self.targets = completions[mask]
        self.visible = torch.ones(self.C, P + self.C, dtype=torch.bool).tril(P)


class Transformer(nn.Module):
    def __init__(self, shape: ModelShape, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        d, V = shape.width, shape.vocabulary
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(V, d, generator=generator) * 0.5)
        self.layers = nn.ModuleList(Layer(shape, generator) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(d))
        self.head = nn.Parameter(torch.randn(d, V, generator=generator) * (0.5 / math.sqrt(d)))
        self.register_buffer("rotation", rotary_table(shape.head_dim, MAX_POSITIONS, ROPE_BASE), persistent=False)
        self._flatten()

    def _flatten(self) -> None:
        """Make all parameters, and all gradients, views of one buffer each: an optimizer step or a gradient norm
        is then one call instead of one per tensor."""
        parameters = list(self.parameters())
        flat = torch.cat([p.detach().reshape(-1) for p in parameters])
        gradient, start = torch.zeros_like(flat), 0
        for p in parameters:
            end = start + p.numel()
            p.data, p.grad = flat[start:end].view(p.shape), gradient[start:end].view(p.shape)
            start = end
        self.flat, self.flat.grad = flat, gradient  # a plain tensor: `parameters()` lists the views only

    def state(self) -> Tensor:
        """All weights as one vector, a copy."""
        return self.flat.detach().clone()

    def load(self, weights: Tensor) -> None:
        with torch.no_grad():
            self.flat.copy_(weights)

    def hidden(self, packing: Packing) -> Tensor:
        """Final hidden states of the packed rows, (B·P + rows of completions, d)."""
        k, d, prompt_rows = packing, self.shape.width, packing.B * packing.P
        rotation = self.rotation[k.positions]
        x = F.embedding(k.tokens, self.embedding)
        for layer in self.layers:
            qkv = layer.project(x, rotation)
            head = qkv.shape[2:]
            q, *kv = qkv[:prompt_rows].view(k.B, k.P, 3, *head).permute(2, 0, 3, 1, 4)  # each (B, H, P, h)
            prompt_out = F.scaled_dot_product_attention(q, *kv, is_causal=True)
            attended = [prompt_out.transpose(1, 2).reshape(-1, d)]
            if len(k.kept):
                grid = qkv.new_zeros(k.N * k.C, 3 * d).index_copy(0, k.kept, qkv[prompt_rows:].reshape(-1, 3 * d))
                q, *own = grid.view(k.N, k.C, 3, *head).permute(2, 0, 3, 1, 4)  # each (N, H, C, h)
                seen = [
                    torch.cat([p.unsqueeze(1).expand(-1, k.n, -1, -1, -1).reshape(k.N, *p.shape[1:]), o], dim=2)
                    for p, o in zip(kv, own, strict=True)
                ]  # each (N, H, P + C, h)
                out = F.scaled_dot_product_attention(q, *seen, attn_mask=k.visible)
                attended.append(out.transpose(1, 2).reshape(-1, d).index_select(0, k.kept))
            x = layer.finish(x, torch.cat(attended))
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(rows, d) -> (rows, V)."""
        return rms_norm(x, self.norm, NORM_EPS) @ self.head

    def completion_logits(self, packing: Packing) -> Tensor:
        """Logits that predict each real completion token, (M, V), in the order of ``completions[mask]``."""
        x = self.hidden(packing).index_select(0, packing.predictors)
        return self.logits(x)


def token_logp(logits: Tensor, tokens: Tensor) -> Tensor:
    """log π(token): logits (M, V), tokens (M,) -> (M,)."""
    return -F.cross_entropy(logits, tokens, reduction="none")
