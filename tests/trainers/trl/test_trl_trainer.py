"""The real GRPOTrainer behind the protocol: stepped, saved, resumed bit for bit, evaluated without being disturbed."""

from __future__ import annotations

from functools import partial

import pytest

pytest.importorskip("trl")
import torch
from tokenizers.processors import TemplateProcessing

from jfhpo.core.trial import Fidelity, Trial
from jfhpo.tasks.datasets import splits
from jfhpo.trainers.trl import trainer as trainer_module
from jfhpo.trainers.trl.rewards import TaskReward
from jfhpo.trainers.trl.trainer import TrlTrainer
from tests.trainers import stepped
from tests.trainers.stepped import told, weights

SIZES = {"train": 24, "validation": 32, "test": 32}
CONFIG = {
    "lr": 3e-3, "lr_scheduler": "cosine", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 0.01, "rollout_n": 4,
}  # fmt: skip
SETTINGS = {"prompts_per_step": 8, "minibatches": 2}


@pytest.fixture(autouse=True)
def few_questions(monkeypatch):
    monkeypatch.setattr(splits, "GENERATED_SIZES", SIZES)


def make(base, **settings) -> TrlTrainer:
    return TrlTrainer("last_digit", {"xs": str(base)}, max_steps=8, settings=SETTINGS | settings)


def trial(steps=6, validate_at=(), **config) -> Trial:
    return Trial(0, CONFIG | config, Fidelity("xs", steps), seed=5, validate_at=validate_at)


@pytest.fixture(scope="module")
def whole(guessing_base):
    """Six of eight steps without a stop: 3 epochs of 24 prompts in steps of 8 would end at 9."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "GENERATED_SIZES", SIZES)
        trainer = make(guessing_base)
        return told(trainer.start(trial())), weights(trainer)


def test_records_say_what_trl_logged(whole):
    records, _ = whole
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= r["reward_mean"] <= 1 and r["kl"] >= 0 and r["entropy"] > 0 for r in records)
    assert records[0]["kl"] < records[-1]["kl"]  # it starts at the reference
    assert [r["val_accuracy"] is None for r in records] == [True] * 5 + [False]
    assert all(1 <= r["completion_length"] <= 26 and r["cost"][0] >= 32 for r in records)
    rates = [r["learning_rate"] for r in records]
    assert rates == sorted(rates, reverse=True) and rates[-1] > 0  # cosine over eight steps, not over six


def test_save_and_resume_is_bit_identical_to_never_having_stopped(guessing_base, whole, tmp_path):
    """Also in the second and third pass over the 24 prompts, where TRL's own shuffling would begin anew."""
    stepped.assert_resumes_bit_for_bit(partial(make, guessing_base), trial, whole, tmp_path)


def test_validation_between_steps_changes_nothing(guessing_base, whole):
    stepped.assert_validation_changes_nothing(partial(make, guessing_base), trial, whole)


def test_a_trial_may_be_left_at_any_step_and_the_next_one_is_itself(guessing_base, whole):
    trainer = make(guessing_base)
    records = trainer.start(trial(lr=1e-4))
    next(records)
    assert told(trainer.start(trial())) == whole[0]


def test_a_checkpoint_of_another_trial_is_refused(guessing_base, tmp_path):
    stepped.assert_other_checkpoints_are_refused(partial(make, guessing_base), trial, tmp_path, lr=1e-4)


def test_a_loss_that_is_not_finite_fails_the_trial_and_not_the_trainer(guessing_base, whole):
    stepped.assert_divergence_fails_the_trial_alone(partial(make, guessing_base), trial, whole, lr=1e30)


def test_evaluation_is_seeded_and_greedy_is_greedy(guessing_base):
    trainer = make(guessing_base)
    next(trainer.start(trial(steps=1)))
    one, same, other = (trainer.evaluate("test", 2, seed) for seed in (1, 1, 2))
    assert one.mean_at_k == same.mean_at_k and one.greedy == same.greedy == other.greedy
    assert one.prompts == 32 and one.k == 2 and one.cost.tokens == same.cost.tokens > 64


def test_evaluation_reads_prompts_as_training_does(guessing_base, monkeypatch):
    """With special tokens where the tokenizer adds them."""
    seen = []
    monkeypatch.setattr(
        trainer_module, "draw", lambda model, tokenizer, ids, *_: (seen.extend(ids), (["0"] * 32, 32))[1]
    )
    trainer = make(guessing_base)
    next(trainer.start(trial()))
    name, number = trainer.tokenizer.eos_token, trainer.tokenizer.eos_token_id
    opening = TemplateProcessing(single=f"{name} $A", special_tokens=[(name, number)])
    trainer.tokenizer.backend_tokenizer.post_processor = opening
    trainer.evaluate("validation", 1, greedy=False)
    trained, *_ = trainer.run.trainer._tokenize_prompts([row["prompt"] for row in trainer.data["validation"]])
    assert seen == trained and all(ids[0] == number for ids in seen)


def test_evaluation_may_be_of_the_first_prompts_only(guessing_base):
    trainer, other = make(guessing_base, held_out_prompts=8), make(guessing_base, held_out_prompts=100)
    assert [len(trainer.data[split]) for split in SIZES] == [24, 8, 8]
    assert [len(other.data[split]) for split in SIZES] == [24, 32, 32]


def test_lora_trains_adapters_only(guessing_base):
    trainer = make(guessing_base, lora={"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]})
    records = told(trainer.start(trial(steps=2)))
    assert len(records) == 2 and records[-1]["kl"] > 0
    trained = {name.split(".")[-3] for name, p in trainer.run.trainer.model.named_parameters() if p.requires_grad}
    assert trained == {"lora_A", "lora_B"} or all("lora" in n for n in trained)


def test_graded_rewards_are_other_rewards(guessing_base, whole):
    (record,) = make(guessing_base, reward="graded").start(trial(steps=1))
    assert record.reward_mean != whole[0][0]["reward_mean"]


def test_grpovi_as_a_hyperparameter_trains_on_adjusted_rewards(guessing_base, whole, monkeypatch):
    """With the exact reward it is the run without it; with rewards of more than two values it is another one."""
    trainer = make(guessing_base)
    same = told(trainer.start(trial(advantage="grpovi")))
    assert type(trainer.run.trainer).__name__ == "GRPOVITrainer"
    assert [r["reward_mean"] for r in same] == [r["reward_mean"] for r in whole[0]]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(weights(trainer), whole[1], strict=True))

    def partial_credit(self, prompts, completion_ids, answer, **columns):
        return [min(len(ids), 10) / 20 for ids in completion_ids]

    monkeypatch.setattr(TaskReward, "__call__", partial_credit)
    trainer, found = make(guessing_base), []
    for advantage in ("grpo", "grpovi"):
        next(trainer.start(trial(steps=1, advantage=advantage)))
        found.append(weights(trainer))
    assert not all(map(torch.equal, *found))
