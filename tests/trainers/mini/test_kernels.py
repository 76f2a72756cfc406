"""The hand-written pieces of the decoder against their formulas and against autograd."""

import pytest
import torch
from torch.autograd import gradcheck

from jfhpo.trainers.mini.kernels import RMSNorm, SwiGLU, rms_norm, rotary_table, rotate, swiglu

EPS = 1e-6


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_rms_norm(x, gain):
    return gain * x / (x.pow(2).mean(-1, keepdim=True) + EPS).sqrt()


def plain_swiglu(x):
    a, b = x.chunk(2, -1)
    return a / (1 + (-a).exp()) * b


@pytest.mark.parametrize("rows, d", [(5, 8), (1, 3)])
def test_rms_norm_is_its_formula_with_and_without_gradients(rows, d):
    x, gain = normal(rows, d), normal(d, seed=1)
    torch.testing.assert_close(rms_norm(x, gain, EPS), plain_rms_norm(x, gain))
    with torch.no_grad():
        torch.testing.assert_close(rms_norm(x, gain, EPS), plain_rms_norm(x, gain))


def test_swiglu_is_its_formula_with_and_without_gradients():
    x = normal(5, 12)
    torch.testing.assert_close(swiglu(x), plain_swiglu(x))
    with torch.no_grad():
        torch.testing.assert_close(swiglu(x), plain_swiglu(x))


def test_rms_norm_has_the_gradient_of_finite_differences():
    x, gain = normal(4, 6).requires_grad_(), normal(6, seed=1).requires_grad_()
    assert gradcheck(lambda x, gain: RMSNorm.apply(x, gain, EPS), (x, gain))


def test_rms_norm_has_a_gradient_where_epsilon_matters():
    x, gain = (normal(4, 6) * 1e-3).requires_grad_(), normal(6, seed=1).requires_grad_()
    ours = torch.autograd.grad(RMSNorm.apply(x, gain, EPS).sin().sum(), (x, gain))
    torch.testing.assert_close(ours, torch.autograd.grad(plain_rms_norm(x, gain).sin().sum(), (x, gain)))


def test_swiglu_has_the_gradient_of_finite_differences():
    assert gradcheck(SwiGLU.apply, (normal(4, 10).requires_grad_(),))


def test_single_precision_gradients_agree_with_autograd():
    x, gain = (t.float().requires_grad_() for t in (normal(64, 32), normal(32, seed=1)))
    for ours, plain, inputs in (
        (lambda x, gain: RMSNorm.apply(x, gain, EPS), plain_rms_norm, (x, gain)),
        (lambda x, _: SwiGLU.apply(x), lambda x, _: plain_swiglu(x), (x,)),
    ):
        weight = normal(*plain(x, gain).shape, seed=2).float()
        expected = torch.autograd.grad((plain(x, gain) * weight).sum(), inputs)
        torch.testing.assert_close(torch.autograd.grad((ours(x, gain) * weight).sum(), inputs), expected)


def test_rotation_is_rotate_half_of_hugging_face_up_to_the_order_of_columns():
    modeling = pytest.importorskip("transformers.models.qwen2.modeling_qwen2")
    positions, heads, h, base = 11, 3, 8, 10_000.0
    qkv = normal(positions, 3, heads, h).float()
    halves = torch.cat([torch.arange(0, h, 2), torch.arange(1, h, 2)])
    angles = torch.arange(positions)[:, None] * base ** (-torch.arange(0, h, 2) / h)
    cos, sin = (f(torch.cat([angles, angles], -1))[None] for f in (torch.cos, torch.sin))
    q, k = (qkv[:, i].transpose(0, 1)[None, ..., halves] for i in (0, 1))  # (1, heads, positions, h)
    expected = modeling.apply_rotary_pos_emb(q, k, cos, sin)
    ours = rotate(qkv, rotary_table(h, positions, base))
    for i in (0, 1):
        torch.testing.assert_close(ours[:, i, :, halves].transpose(0, 1)[None], expected[i])


def test_values_are_not_rotated():
    qkv = normal(7, 3, 2, 4).float()
    assert torch.equal(rotate(qkv, rotary_table(4, 7, 10_000.0))[:, 2], qkv[:, 2])


def test_attention_scores_depend_on_distance_only():
    q, k = normal(2, 8).float()
    table = rotary_table(8, 40, 10_000.0)

    def score(at: int, other: int) -> torch.Tensor:
        turned = [
            rotate(x.expand(1, 3, 1, 8).contiguous(), table[p : p + 1])[0, 0, 0] for x, p in ((q, at), (k, other))
        ]
        return turned[0] @ turned[1]

    torch.testing.assert_close(score(9, 4), score(37, 32), atol=1e-5, rtol=1e-5)
    assert not torch.isclose(score(9, 4), score(9, 5))
