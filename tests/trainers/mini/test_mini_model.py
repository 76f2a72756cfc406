"""The packed model is the plain decoder: same logits, same gradients, whatever the shape of the batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jfhpo.trainers.mini.family import FAMILY, model_sizes
from jfhpo.trainers.mini.model import Packing, Transformer, token_logp
from tests.trainers.mini.tiny import copy_of, plain_completion_logits, ragged, random_model

BATCHES = [(1, 1, 1), (3, 1, 6), (1, 4, 5), (2, 3, 7), (3, 2, 1)]
"""Prompts B, rollouts n of each, longest completion C."""


@pytest.mark.parametrize("B, n, C", BATCHES)
def test_packed_logits_are_those_of_each_sequence_alone(B, n, C):
    model, batch = random_model(), ragged(B, n, C)
    torch.testing.assert_close(
        model.completion_logits(Packing(*batch)), plain_completion_logits(model, *batch), atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("B, n, C", BATCHES)
def test_packed_gradients_are_those_of_each_sequence_alone(B, n, C):
    model, batch = random_model(), ragged(B, n, C)
    packing, completions, mask = Packing(*batch), *batch[1:]
    assert torch.equal(packing.targets, completions[mask])

    def gradient(logits: torch.Tensor) -> list[torch.Tensor]:
        return torch.autograd.grad(token_logp(logits, packing.targets).mean(), list(model.parameters()))

    expected = gradient(plain_completion_logits(model, *batch))
    for ours, plain in zip(gradient(model.completion_logits(packing)), expected, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5 * float(plain.abs().max() + 1e-3), rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(B=st.integers(1, 3), n=st.integers(1, 3), C=st.integers(1, 8), seed=st.integers(0, 1000))
def test_any_ragged_batch_packs_to_the_same_logits(B, n, C, seed):
    model, batch = random_model(seed=seed % 5), ragged(B, n, C, seed)
    with torch.no_grad():
        packed, plain = model.completion_logits(Packing(*batch)), plain_completion_logits(model, *batch)
    torch.testing.assert_close(packed, plain, atol=2e-5, rtol=1e-4)


def test_padding_is_never_read():
    model, (prompts, completions, mask) = random_model(), ragged(2, 3, 7)
    other = completions.masked_fill(~mask, 5)
    assert torch.equal(
        model.completion_logits(Packing(prompts, completions, mask)),
        model.completion_logits(Packing(prompts, other, mask)),
    )


def test_gradients_gather_in_one_buffer_that_an_optimizer_can_step():
    model, batch = random_model(), ragged(2, 2, 4)
    packing = Packing(*batch)
    token_logp(model.completion_logits(packing), packing.targets).mean().backward()
    assert torch.equal(model.flat.grad, torch.cat([p.grad.reshape(-1) for p in model.parameters()]))
    before = model.head.detach().clone()
    with torch.no_grad():
        model.flat -= model.flat.grad
    torch.testing.assert_close(model.head, before - model.head.grad)


def test_weights_survive_state_and_load_bit_for_bit():
    model = random_model(seed=3)
    other = Transformer(model.shape)
    other.load(model.state())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert torch.equal(copy_of(model).flat, model.flat)


def test_the_seed_makes_the_model():
    shape = FAMILY["xs"].shape(19)
    assert torch.equal(Transformer(shape, seed=1).flat, Transformer(shape, seed=1).flat)
    assert not torch.equal(Transformer(shape, seed=1).flat, Transformer(shape, seed=2).flat)


def test_the_family_reports_its_real_parameter_counts_in_rising_order():
    sizes = model_sizes("last_digit")
    assert [s.name for s in sizes] == list(FAMILY)
    assert [s.parameters for s in sizes] == sorted(s.parameters for s in sizes)
    for size in sizes:
        assert size.parameters == random_model(size.name).flat.numel()
        assert size.width == FAMILY[size.name].width
