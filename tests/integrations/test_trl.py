"""The stopping rules in real TRL and transformers runs of a few steps, on CPU."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.dynamics.early_stopping import RewardBelowStart, ZeroReward
from jfhpo.integrations.trl import LOGGED, early_stopping

STEP = {"loss": 0.1, "reward": 0.4, "kl": 0.01, "grad_norm": 1.0, "learning_rate": 1e-5, "step": 1}


def begun(callback, max_steps: int = 40, history=(), logging_steps: int = 1, strategy: str = "steps"):
    """A trainer's state and control, as `on_train_begin` finds them."""
    state = SimpleNamespace(
        max_steps=max_steps, logging_steps=logging_steps, log_history=list(history), global_step=0,
        is_world_process_zero=True,
    )  # fmt: skip
    control = SimpleNamespace(should_training_stop=False)
    from transformers.trainer_utils import IntervalStrategy

    callback.on_train_begin(SimpleNamespace(logging_strategy=IntervalStrategy(strategy)), state, control)
    return state, control


def stops_at(callback, rewards, **start) -> int | None:
    """The step whose log makes the callback stop the training."""
    state, control = begun(callback, **start)
    for step, reward in enumerate(rewards, 1 + len(start.get("history", ()))):
        state.global_step = step
        callback.on_log(None, state, control, logs=STEP | {"reward": reward, "step": step})
        if control.should_training_stop:
            return step
    return None


def test_it_judges_as_a_study_does():
    assert stops_at(early_stopping("scaling_law"), [0.4] * 40) == 11
    assert stops_at(early_stopping("scaling_law"), [0.02 * i for i in range(40)]) is None
    assert stops_at(early_stopping("robust"), [0.5] * 3 + [0.1] * 20) == 8
    assert stops_at(early_stopping((ZeroReward(patience=3),)), [0.5, 0, 0, 0]) == 4


def test_the_verdict_can_be_read_and_is_said(capsys):
    callback = early_stopping((ZeroReward(),))
    assert stops_at(callback, [0.0] * 9) == 5
    assert str(callback.verdict) == "zero_reward at step 5: no reward in 5 steps"
    assert capsys.readouterr().out == "stopped early: zero_reward at step 5: no reward in 5 steps\n"


def test_a_resumed_run_is_judged_with_the_steps_before_it():
    history = [STEP | {"reward": 0.5, "step": step} for step in (1, 2, 3)]
    summary = {"train_runtime": 1.0, "step": 3}
    callback = early_stopping((RewardBelowStart(),))
    assert stops_at(callback, [0.1] * 9, history=history) == 8
    assert [record.step for record in callback.curve] == list(range(1, 9))
    begun(callback, history=[*history, summary])
    assert len(callback.curve) == 3


def test_what_is_no_step_is_passed_over():
    callback = early_stopping("robust")
    state, control = begun(callback)
    state.global_step = 1
    for logs in (None, {}, {"eval_loss": 1.0, "eval_reward": 0.1}, STEP, STEP, {"train_runtime": 3.0}):
        callback.on_log(None, state, control, logs=logs)
    assert [(r.step, r.reward_mean) for r in callback.curve] == [(1, 0.4)]
    assert callback.curve[0].kl == 0.01 and math.isnan(callback.curve[0].entropy)


def test_where_rewards_can_lie_is_told_to_the_law():
    climbing = [2 * (1 - math.exp(-i / 30)) for i in range(40)]
    assert stops_at(early_stopping("scaling_law"), climbing) is None
    known = early_stopping("scaling_law", reward_range=(0.0, 2.0))
    assert stops_at(known, climbing) is None and known.rules[0].reward_range == (0.0, 2.0)


@pytest.mark.parametrize(
    ("start", "logs", "said"),
    [
        ({"logging_steps": 10}, STEP, "logging_strategy=steps logging_steps=10 must be steps and 1"),
        ({"strategy": "no"}, STEP, "logging_strategy=no logging_steps=1 must be steps and 1"),
        (
            {},
            {"loss": 0.1, "rewards/len/mean": 0.2},
            "reward is not logged at step 1; there is: rewards/len/mean",
        ),
        ({}, STEP | {"reward": None}, "reward=reward is not logged at step 1"),
    ],
)
def test_what_cannot_be_watched_is_said_in_a_line(start, logs, said):
    def first_step() -> None:
        callback = early_stopping()
        state, control = begun(callback, **start)
        state.global_step = 1
        callback.on_log(None, state, control, logs=logs)

    with pytest.raises(UsageError, match=said):
        first_step()


def test_an_unknown_preset_is_refused_before_anything_is_trained():
    with pytest.raises(UsageError, match=r"unknown early_stopping preset 'robot'.*did you mean 'robust'"):
        early_stopping("robot")


def test_a_real_grpo_run_ends_where_the_law_says(tmp_path):
    """A random model of two letters whose reward never changes: it is stopped at step 11 of 40."""
    pytest.importorskip("trl")
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed
    from trl import GRPOConfig, GRPOTrainer

    words = {word: i for i, word in enumerate(["<pad>", "<eos>", "a", "b"])}
    raw = Tokenizer(WordLevel(words, unk_token="<pad>"))
    raw.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>")
    set_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=4, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, max_position_embeddings=32, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip
    model.save_pretrained(tmp_path / "model")
    callback = early_stopping("scaling_law", reward_range=(0.0, 1.0))
    arguments = GRPOConfig(
        output_dir=str(tmp_path), max_steps=40, logging_steps=1, per_device_train_batch_size=2, num_generations=2,
        max_completion_length=2, beta=0.1, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
        bf16=False,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=str(tmp_path / "model"), args=arguments, processing_class=tokenizer, callbacks=[callback],
        reward_funcs=lambda completions, **_: [0.4] * len(completions),
        train_dataset=Dataset.from_dict({"prompt": ["a b", "b a"] * 8}),
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 11 and callback.verdict.rule == "remaining_gain"
    assert [record.reward_mean for record in callback.curve] == pytest.approx([0.4] * 11)
    assert all(not math.isnan(getattr(callback.curve[0], field)) for field in LOGGED), "all are logged by this trainer"
