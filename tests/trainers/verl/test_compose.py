"""What verl would only find after a minute, or never: refused from the words alone, and where verl is installed, from
its own composition."""

from __future__ import annotations

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.trainers.verl.compose import check_words, compose, installed

A, R = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
WORDS = [
    "algorithm.adv_estimator=grpo", f"{R}.name=vllm", f"{R}.n=8", "data.train_batch_size=16",
    f"{A}.ppo_mini_batch_size=8", f"{A}.ppo_micro_batch_size_per_gpu=32", f"{A}.use_kl_loss=True",
    f"{R}.log_prob_micro_batch_size_per_gpu=32", "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=32",
    "trainer.n_gpus_per_node=1", "trainer.resume_mode=disable",
]  # fmt: skip
needs_verl = pytest.mark.skipif(not installed(), reason="verl is not installed (./run_all.sh setup verl-cpu)")


def test_words_become_values_and_the_last_one_counts():
    found = check_words([*WORDS, f"{A}.optim.lr=1e-6", f"{A}.optim.lr=2e-6", "trainer.logger=[console,file]"])
    assert found[f"{A}.optim.lr"] == 2e-6 and found["trainer.logger"] == ["console", "file"]


WRONG = [
    (f"{A}.clip_ratio=0.1", f"does not act on it; use {A}.clip_ratio_low and {A}.clip_ratio_high"),
    (f"{A}.grad_clip=0.5", f"does not act on it; use {A}.optim.clip_grad"),
    (f"{A}.use_torch_compile=False", f"{A}.fsdp_config.use_torch_compile"),
    (f"{A}.optim.lr=-1e-6", "optim.lr=-1e-06 must be a number above 0"),
    (f"{A}.optim.lr=fast", "optim.lr=fast must be a number above 0"),
    (f"{A}.optim.lr=.nan", "optim.lr=.nan must be a number above 0"),
    (f"{A}.optim.lr=nan", "optim.lr=nan must be a number above 0"),
    (f"{R}.temperature=-0.5", "temperature=-0.5 must be a number above 0"),
    (f"{R}.temperature=0", "temperature=0 must be a number above 0"),
    (f"{A}.clip_ratio_low=1.5", "clip_ratio_low=1.5 must be a number above 0, up to 1"),
    (f"{A}.clip_ratio_c=1.0", "clip_ratio_c=1.0 must be a number above 1"),
    (f"{A}.kl_loss_coef=-0.1", "kl_loss_coef=-0.1 must be a number from 0 on"),
    (f"{A}.kl_loss_type=k7", "kl_loss_type 'k7'"),
    ("algorithm.adv_estimator=grppo", "adv_estimator 'grppo' (did you mean 'grpo'?)"),
    (f"{R}.name=hf", "valid: sglang, trtllm, vllm"),
    (f"{R}.n=1", "n=1 must be at least 2: algorithm.adv_estimator=grpo compares"),
    (f"{R}.n=2.5", "n=2.5 must be a whole number from 1 on"),
    (f"{A}.ppo_mini_batch_size=5", "ppo_mini_batch_size=5 does not divide data.train_batch_size=16"),
    (f"{A}.ppo_micro_batch_size_per_gpu=12", "does not divide the 64 responses of a minibatch"),
    ("trainer.n_gpus_per_node=7", "= 128 responses do not divide among 7 GPUs"),
    ("trainer.save_freq=0", "save_freq=0 must be a whole number from 1 on, or -1 for never"),
    ("trainer.resume_mode=auto", "resume_mode 'auto'; valid: disable, resume_path"),
    (f"{A}.use_kl_loss=maybe", "use_kl_loss=maybe must be true or false"),
    ("algorithm.kl_ctrl.kl_coef=0.1", "does nothing without algorithm.use_kl_in_reward=True"),
    ("+trainer.learning_rate=1", "verl reads no key trainer.learning_rate, and '+' would add it in vain"),
    ("~trainer.logger", "'~trainer.logger' must give one value"),
    ("trainer.save_freq=1,2", "must give one value"),
    ("trainer.logger=[a", "'trainer.logger=[a' cannot be read"),
]


@pytest.mark.parametrize("word, said", WRONG)
def test_what_cannot_train_is_refused_from_the_words(word, said):
    with pytest.raises(UsageError) as error:
        check_words([*WORDS, word])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_coefficient_without_its_switch_is_refused():
    words = [word for word in WORDS if "use_kl_loss" not in word]
    with pytest.raises(UsageError, match=r"kl_loss_coef does nothing without .*use_kl_loss=True"):
        check_words([*words, f"{A}.kl_loss_coef=0.1"])


def test_lengths_must_fit_into_the_engine():
    with pytest.raises(UsageError, match=r"max_model_len=64 is less than data.max_prompt_length=60 \+"):
        check_words([*WORDS, f"{R}.max_model_len=64", "data.max_prompt_length=60", "data.max_response_length=16"])


@pytest.mark.skipif(installed(), reason="verl is installed")
def test_without_verl_the_extra_is_named():
    with pytest.raises(UsageError, match=r"needs verl, which is not installed: pip install -e '.\[verl\]'"):
        compose(WORDS)


@needs_verl
def test_verls_own_composition(capsys):
    config = compose([*WORDS, f"{A}.optim.lr=3e-6", f"{A}.clip_ratio_low=0.1"])
    assert config.actor_rollout_ref.actor.optim.lr == 3e-6
    assert config.actor_rollout_ref.actor.clip_ratio_low == 0.1
    assert config.actor_rollout_ref.actor.clip_ratio_high == 0.2  # a default of its own: both have to be set
    assert config.actor_rollout_ref.actor.optim.clip_grad == 1.0
    assert capsys.readouterr().out == ""


@needs_verl
@pytest.mark.parametrize(
    "word, said",
    [
        ("data.train_batch_siz=4", "reads no key data.train_batch_siz (did you mean data.train_batch_size?)"),
        (f"{R}.lr=1e-6", f"verl 0.9.1 reads no key {R}.lr (did you mean {A}.optim.lr?)"),
        (f"{R}.max_model_len=100", "max_model_len=100 is less than data.max_prompt_length=512"),
        (f"{R}.mode=sync", "verl refuses this configuration: Rollout mode 'sync' has been removed"),
        (f"{R}.log_prob_micro_batch_size=3", "verl refuses this configuration: [actor_rollout_ref.rollout] You have"),
        ("trainer=3", "verl refuses this configuration"),
    ],
)
def test_what_verl_itself_does_not_take(word, said):
    with pytest.raises(UsageError) as error:
        compose([*WORDS, word])
    assert said in str(error.value) and "\n" not in str(error.value)


@needs_verl
def test_composing_is_a_function_of_the_words():
    assert compose(WORDS) == compose(WORDS)
