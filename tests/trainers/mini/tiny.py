"""Small models and rollouts for the tests of the miniature trainer, and the model written the slow, obvious way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jfhpo.tasks import TASKS
from jfhpo.trainers.mini.family import FAMILY
from jfhpo.trainers.mini.model import NORM_EPS, ROPE_BASE, Transformer
from jfhpo.trainers.mini.vocabulary import EOS, PAD, EncodedSplit, Vocabulary

TASK = TASKS["last_digit"]
VOCABULARY = Vocabulary(TASK)
SPLIT_SIZES = {"train": 64, "validation": 48, "test": 32}
SPLITS = TASK.splits(SPLIT_SIZES)


def encoded(split: str = "train") -> EncodedSplit:
    return VOCABULARY.batch(SPLITS[split])


def random_model(size: str = "xs", seed: int = 0, sharpness: float = 2.0) -> Transformer:
    """No weight at its neutral value: biases, gains and all, so that a dropped or misplaced one shows."""
    model = Transformer(FAMILY[size].shape(len(VOCABULARY)), seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn(weight.shape, generator=generator) * (0.5 if "bias" in name else 0.2))
        model.head.mul_(sharpness)
    return model


def copy_of(model: Transformer, noise: float = 0.0, seed: int = 0) -> Transformer:
    other = Transformer(model.shape)
    other.load(model.flat + noise * torch.randn(model.flat.shape, generator=torch.Generator().manual_seed(seed)))
    return other


def ragged(prompts: int, n: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts (B, P), completions (N, C) and their mask: lengths drawn from 1 to C, the first is C."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (prompts * n,), generator=generator)
    lengths[0] = length
    mask = torch.arange(length) < lengths[:, None]
    completions = torch.randint(2, len(VOCABULARY), (prompts * n, length), generator=generator)
    completions[torch.arange(prompts * n), lengths - 1] = EOS
    return encoded().prompts[:prompts], completions.masked_fill(~mask, PAD), mask


def plain_logits(model: Transformer, tokens: Tensor) -> Tensor:
    """Logits of one unpadded sequence (T,) -> (T, V) by textbook operations: no packing, no cache, no kernels."""
    shape, x = model.shape, model.embedding[tokens]
    T, H, h = len(tokens), shape.heads, shape.head_dim
    angles = torch.arange(T)[:, None] * ROPE_BASE ** (-torch.arange(0, h, 2) / h)

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return gain * x / (x.pow(2).mean(-1, keepdim=True) + NORM_EPS).sqrt()

    def turn(x: Tensor) -> Tensor:  # (T, H, h)
        a, b = x[..., 0::2], x[..., 1::2]
        c, s = angles.cos()[:, None], angles.sin()[:, None]
        return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)

    for layer in model.layers:
        q, k, v = (norm(x, layer.norm_attention) @ layer.qkv + layer.qkv_bias).view(T, 3, H, h).unbind(1)
        scores = torch.einsum("thx,shx->hts", turn(q), turn(k)) / h**0.5
        weights = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf).softmax(-1)
        x = x + torch.einsum("hts,shx->thx", weights, v).reshape(T, -1) @ layer.out
        gate, up = (norm(x, layer.norm_mlp) @ layer.gate_up).chunk(2, -1)
        x = x + (F.silu(gate) * up) @ layer.down
    return norm(x, model.norm) @ model.head


def plain_completion_logits(model: Transformer, prompts: Tensor, completions: Tensor, mask: Tensor) -> Tensor:
    """`Transformer.completion_logits`, one rollout at a time: (M, V)."""
    n, rows = len(completions) // len(prompts), []
    for i, completion in enumerate(completions):
        real = completion[mask[i]]
        sequence = torch.cat([prompts[i // n], real])
        rows.append(plain_logits(model, sequence)[prompts.shape[1] - 1 : -1])
    return torch.cat(rows)


def gradients(model: Transformer) -> Transformer:
    """The model's gradient as a model, so that `hf.to_hf_state` names its parts as transformers does."""
    other = Transformer(model.shape)
    other.load(model.flat.grad)
    return other
