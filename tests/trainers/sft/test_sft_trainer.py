"""The real SFTTrainer with LoRA behind the protocol: its loss is on responses alone, resuming is exact, dropout 1 is
nothing learned."""

from __future__ import annotations

import math
from functools import partial

import pytest

pytest.importorskip("trl")
pytest.importorskip("peft")
import torch
from torch.nn.functional import log_softmax
from transformers import AutoModelForCausalLM, AutoTokenizer

from jfhpo.core.trainer import TrainingFailed
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.tasks.instructions import material
from jfhpo.trainers.mini.family import BaseSpec, build_base
from jfhpo.trainers.sft.pairs import IGNORED, encoded, response_loss
from jfhpo.trainers.sft.trainer import SftTrainer
from tests.trainers import stepped
from tests.trainers.stepped import told, weights

SIZES = {"train": 40, "validation": 24, "test": 24}
CONFIG = {"lora_rank": 8, "lora_dropout": 0.1, "lora_alpha": 32, "lr": 2e-2}
SETTINGS = {"batch": 16, "warmup": 0.0, "answered": 8}
STEPS = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An xs base that has hardly begun to learn."""
    little = {"max_steps": 5, "bar": 0.0, "polluted_steps": 15, "pool": 2000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JFHPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        return build_base(BaseSpec.of("instructions", "xs", little))


@pytest.fixture(autouse=True)
def few_questions(monkeypatch):
    monkeypatch.setattr(material, "SIZES", SIZES)


def make(base, **settings) -> SftTrainer:
    return SftTrainer("instructions", {"xs": str(base)}, STEPS, SETTINGS | settings)


def trial(steps=STEPS, validate_at=(), **config) -> Trial:
    return Trial(0, CONFIG | config, Fidelity("xs", steps), seed=5, validate_at=validate_at)


@pytest.fixture(scope="module")
def whole(base):
    """Six steps of 16 over 40 pairs: into the third pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "SIZES", SIZES)
        trainer = make(base)
        return told(trainer.start(trial())), weights(trainer)


def test_records_say_what_was_learned(whole):
    records, _ = whole
    assert [r["step"] for r in records] == list(range(1, STEPS + 1))
    assert [r["reward_mean"] for r in records] == [math.exp(-r["loss"]) for r in records]
    assert records[-1]["loss"] < records[0]["loss"]
    assert [r["val_accuracy"] is None for r in records] == [True] * 5 + [False]
    assert all(r["kl"] == r["clip_fraction"] == "nan" and r["grad_norm"] > 0 and r["entropy"] > 0 for r in records)
    assert [bool(r["measured"]) for r in records] == [False] * 5 + [True]
    assert records[-1]["measured"]["answered"] in [n / 8 for n in range(9)]
    rates = [r["learning_rate"] for r in records]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0  # cosine, without warm-up here


def test_the_score_is_the_inverse_perplexity_of_the_response_tokens(base, whole):
    """Against a plain loop over pairs: log-probabilities of each response and its end, given the prompt."""
    trainer = make(base)
    records = told(trainer.start(trial()))
    model, tokenizer = trainer.run.trainer.model.eval(), AutoTokenizer.from_pretrained(base)
    total, count = 0.0, 0
    with torch.no_grad():
        for prompt, response in trainer.material.validation:
            asked = tokenizer(prompt)["input_ids"]
            answer = [*tokenizer(response)["input_ids"], tokenizer.eos_token_id]
            logp = log_softmax(model(input_ids=torch.tensor([asked + answer])).logits[0], -1)
            total += float(logp[range(len(asked) - 1, len(asked) + len(answer) - 1), answer].sum())
            count += len(answer)
    assert records[-1]["val_accuracy"] == pytest.approx(math.exp(total / count), rel=1e-4)
    assert records == whole[0]


def test_prompts_and_padding_carry_no_loss(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    pairs = [("sort:21=", "12#12"), ("digit:1+1=", "1+1=2#2")]
    rows = encoded(tokenizer, pairs, 512)
    for (prompt, response), ids, labels in zip(pairs, rows["input_ids"], rows["labels"], strict=True):
        assert labels[: len(prompt)] == [IGNORED] * len(prompt)
        assert labels[len(prompt) :] == ids[len(prompt) :] and ids[-1] == tokenizer.eos_token_id
        assert len(ids) == len(prompt) + len(response) + 1
    model = AutoModelForCausalLM.from_pretrained(base)
    apart = [response_loss(model, rows.select([i]), 8) for i in (0, 1)]
    loss, learned, read = response_loss(model, rows, 8)
    assert (learned, read) == (6 + 8, 9 + 5 + 11 + 7)
    assert loss == pytest.approx((6 * apart[0][0] + 8 * apart[1][0]) / 14, rel=1e-5)
    tokenizer.bos_token = tokenizer.pad_token  # of a tokenizer that opens every text, as Llama's does
    (first, *_), (label, *_) = (encoded(tokenizer, pairs, 512)[0][name] for name in ("input_ids", "labels"))
    assert (first, label) == (tokenizer.bos_token_id, IGNORED)
    tokenizer.bos_token = None
    cut = encoded(tokenizer, pairs, 10)
    assert [len(ids) for ids in cut["input_ids"]] == [10, 10]


def test_save_and_resume_is_bit_identical_to_never_having_stopped(base, whole, tmp_path):
    """Dropout draws from the same random state, and pairs come in the same order, also in the third pass."""
    stepped.assert_resumes_bit_for_bit(partial(make, base), trial, whole, tmp_path)


def test_validation_between_steps_changes_nothing(base, whole):
    stepped.assert_validation_changes_nothing(partial(make, base), trial, whole)


def test_a_shorter_trial_is_the_beginning_of_a_longer_one(base, whole):
    short = told(make(base).start(trial(steps=3)))
    assert [r["loss"] for r in short] == [r["loss"] for r in whole[0][:3]]
    assert short[-1]["val_accuracy"] is not None and not short[-1]["measured"]


def test_with_dropout_one_nothing_is_learned(base):
    trainer = make(base)
    untouched = AutoModelForCausalLM.from_pretrained(base)
    records = told(trainer.start(trial(lora_dropout=1.0)))
    assert {r["grad_norm"] for r in records} == {0.0}
    loss, _, _ = response_loss(untouched, trainer.validation, 16)
    assert records[-1]["val_accuracy"] == pytest.approx(math.exp(-loss), rel=1e-5)


def test_a_checkpoint_of_another_trial_is_refused(base, tmp_path):
    stepped.assert_other_checkpoints_are_refused(partial(make, base), trial, tmp_path, lora_rank=4)


def test_a_rank_that_a_layer_is_too_narrow_for_fails_the_trial(base):
    """A declared model may have layers narrower than its width; they are seen when it is loaded."""
    with pytest.raises(TrainingFailed, match=r"lora_rank=64 is above 32, the width of layer .*q_proj"):
        make(base).start(trial(lora_rank=64))


def test_only_the_adapter_is_trained_and_its_size_is_counted(base):
    trainer = make(base, target_modules="all-linear")
    next(trainer.start(trial(steps=1)))
    assert all("lora" in name for name, p in trainer.run.trainer.model.named_parameters() if p.requires_grad)
    width, ff, layers, rank = 32, 80, 2, CONFIG["lora_rank"]
    assert trainer.sizes[1] == layers * rank * (4 * 2 * width + 3 * (width + ff))


def test_test_questions_are_answered_by_sampling(base):
    trainer = make(base)
    next(trainer.start(trial(steps=1)))
    one, same, other = (trainer.evaluate("test", 2, seed) for seed in (1, 1, 2))
    assert one.mean_at_k == same.mean_at_k and one.greedy == same.greedy == other.greedy
    assert one.prompts == 24 and one.k == 2 and one.cost.tokens > 48
    score = trainer.evaluate("validation", 1)
    assert math.isnan(score.greedy) and 0 < score.mean_at_k < 1 and score.prompts == 24


def test_a_loss_that_is_not_finite_fails_the_trial_and_not_the_trainer(base, whole):
    stepped.assert_divergence_fails_the_trial_alone(partial(make, base), trial, whole, lr=1e36)
