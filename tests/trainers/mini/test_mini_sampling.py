"""Sampling draws from the model's own distribution, records what it drew, and depends on its generator alone."""

import pytest
import torch
from scipy.stats import chisquare

from jfhpo.trainers.mini import sampling
from jfhpo.trainers.mini.model import Packing, token_logp
from jfhpo.trainers.mini.sampling import sample
from tests.trainers.mini.tiny import EOS, PAD, encoded, plain_logits, random_model

PROMPTS = encoded().prompts
LIMIT = 12


def draw(model, prompts=PROMPTS, n=1, limit=LIMIT, seed: int | None = 0):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return sample(model, prompts, n, limit, eos=EOS, pad=PAD, generator=generator)


@pytest.fixture(scope="module")
def model():
    """Random, but fond enough of end-of-sequence that some completions end early and some never."""
    model = random_model(seed=2)
    with torch.no_grad():
        model.head[:, EOS] *= 4
    return model


def test_the_model_of_these_tests_ends_some_completions_and_not_others(model):
    for drawn in (draw(model), draw(model, seed=None)):
        ended = (drawn.tokens == EOS).any(1)
        assert 0.2 < ended.float().mean() < 0.95
        assert len(set(drawn.mask.sum(1).tolist())) > 3


def test_greedy_is_hugging_face_generate_token_for_token(model, tmp_path):
    transformers = pytest.importorskip("transformers")
    from jfhpo.trainers.mini import hf

    theirs = transformers.Qwen2ForCausalLM(hf.hf_config(model.shape)).eval()
    theirs.load_state_dict(hf.to_hf_state(model))
    generated = theirs.generate(
        PROMPTS,
        attention_mask=torch.ones_like(PROMPTS),
        generation_config=transformers.GenerationConfig(
            do_sample=False, max_new_tokens=LIMIT, eos_token_id=EOS, pad_token_id=PAD
        ),
    )[:, PROMPTS.shape[1] :]
    assert torch.equal(draw(model, seed=None).tokens, generated)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("drop_below", [0.0, 0.75, 1.1])
def test_recorded_log_probabilities_are_the_models_own(model, monkeypatch, n, drop_below):
    monkeypatch.setattr(sampling, "DROP_BELOW", drop_below)
    drawn = draw(model, PROMPTS[:24], n)
    with torch.no_grad():
        packing = Packing(PROMPTS[:24], drawn.tokens, drawn.mask)
        logp = token_logp(model.completion_logits(packing), packing.targets)
    torch.testing.assert_close(drawn.logp[drawn.mask], logp, atol=1e-5, rtol=0)
    assert (drawn.logp[~drawn.mask] == 0).all()


def test_first_tokens_follow_the_softmax():
    model, prompt, n = random_model(sharpness=1.0), PROMPTS[3], 40_000
    probabilities = plain_logits(model, prompt)[-1].double().softmax(-1)
    counts = draw(model, prompt[None], n, limit=1).tokens.flatten().bincount(minlength=len(probabilities))
    expected = n * probabilities.detach()
    assert expected.min() > 5  # enough of each for the test to hold
    assert chisquare(counts, expected).pvalue > 1e-3
    assert probabilities.max() < 0.9  # a distribution, not a certainty


def test_pairs_of_tokens_follow_the_chain_rule(model):
    """π(a, b) = π(a) π(b | a): total variation between it and 40,000 draws is what chance alone gives."""
    prompt, n, V = PROMPTS[3], 40_000, model.shape.vocabulary
    with torch.no_grad():
        first = plain_logits(model, prompt)[-1].double().softmax(-1)
        second = torch.stack(
            [plain_logits(model, torch.cat([prompt, torch.tensor([a])]))[-1].double().softmax(-1) for a in range(V)]
        )
    second[EOS] = torch.eye(V)[PAD].double()  # after end-of-sequence comes padding
    joint = (first[:, None] * second).flatten()
    tokens = draw(model, prompt[None], n, limit=2).tokens
    counts = (tokens[:, 0] * V + tokens[:, 1]).bincount(minlength=V * V)
    by_chance = 0.5 * (2 / torch.pi * joint * (1 - joint) / n).sqrt().sum()
    assert 0.5 * (counts / n - joint).abs().sum() < 1.5 * by_chance


def test_dropping_finished_rollouts_changes_no_token(model, monkeypatch):
    monkeypatch.setattr(sampling, "DROP_BELOW", 0.0)
    kept = draw(model, n=2, seed=None)
    monkeypatch.setattr(sampling, "DROP_BELOW", 1.1)
    dropped = draw(model, n=2, seed=None)
    assert torch.equal(kept.tokens, dropped.tokens) and torch.equal(kept.mask, dropped.mask)


def test_padding_follows_end_of_sequence_and_the_mask_says_so(model):
    drawn = draw(model, n=3)
    for tokens, mask in zip(drawn.tokens.tolist(), drawn.mask.tolist(), strict=True):
        end = tokens.index(EOS) + 1 if EOS in tokens else len(tokens)
        assert mask == [True] * end + [False] * (len(tokens) - end)
        assert set(tokens[end:]) <= {PAD}


def test_completions_stop_at_the_limit_or_when_all_have_ended(model):
    drawn = draw(model, seed=None)
    assert drawn.tokens.shape == (len(PROMPTS), LIMIT)
    lengths = drawn.mask.sum(1)
    short = lengths <= LIMIT - 3
    alone = draw(model, PROMPTS[short], seed=None)
    assert alone.tokens.shape[1] == lengths[short].max()
    assert torch.equal(alone.tokens, drawn.tokens[short, : alone.tokens.shape[1]])


def test_rollouts_of_a_prompt_are_neighbours(model):
    drawn = draw(model, PROMPTS[:5], n=3, seed=None)
    assert torch.equal(drawn.tokens, draw(model, PROMPTS[:5], seed=None).tokens.repeat_interleave(3, 0))


def test_the_generator_decides_and_nothing_else(model):
    torch.manual_seed(1)
    one, state = draw(model, n=2, seed=7), torch.get_rng_state()
    assert torch.equal(state, torch.Generator().manual_seed(1).get_state())  # the global generator was not touched
    torch.manual_seed(2)
    again = draw(model, n=2, seed=7)
    assert torch.equal(one.tokens, again.tokens) and torch.equal(one.logp, again.logp)
    assert not torch.equal(one.tokens[:, :3], draw(model, n=2, seed=8).tokens[:, :3])


def test_a_generator_moves_on(model):
    generator = torch.Generator().manual_seed(0)
    one, two = (sample(model, PROMPTS, 1, 4, eos=EOS, pad=PAD, generator=generator) for _ in range(2))
    assert not torch.equal(one.tokens, two.tokens)
