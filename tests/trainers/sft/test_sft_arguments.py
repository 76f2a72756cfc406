"""From hyperparameters to SFTConfig and LoraConfig, and what cannot run refused before anything is loaded."""

from __future__ import annotations

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.trainers.sft import engine
from jfhpo.trainers.sft.arguments import SftSettings, lora_arguments, sft_arguments

CONFIG = {"lora_rank": 16, "lora_alpha": 48, "lora_dropout": 0.1, "lr": 3e-4}


def test_hyperparameters_arrive_where_their_libraries_read_them():
    found = lora_arguments(CONFIG, SftSettings(target_modules="all-linear", lora={"bias": "none"}))
    assert found == {
        "task_type": "CAUSAL_LM", "r": 16, "lora_alpha": 48, "lora_dropout": 0.1, "target_modules": "all-linear",
        "bias": "none",
    }  # fmt: skip
    found = sft_arguments(CONFIG, SftSettings(batch=128, micro_batch=8), max_steps=942)
    assert (found["learning_rate"], found["lr_scheduler_type"], found["warmup_steps"]) == (3e-4, "cosine", 0.03)
    assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == (8, 16)
    assert (found["max_steps"], found["weight_decay"], found["max_length"]) == (942, 0.0, 512)
    assert not {"lora_rank", "r", "lr"} & set(found)


def test_what_is_searched_goes_before_what_is_set():
    settings = SftSettings(arguments={"max_grad_norm": 0.5, "adam_beta2": 0.95})
    found = sft_arguments({"grad_clip": 2.0, "lr_scheduler": "constant"}, settings, 10)
    assert (found["max_grad_norm"], found["adam_beta2"], found["lr_scheduler_type"]) == (2.0, 0.95, "constant")


def problem(**changes):
    plain = {
        "task": "instructions", "models": {}, "proxy": "xs", "target": "p", "extra_models": [], "pretrain": {},
        "data": {}, "max_steps": 10, "trainer_settings": {},
        "space": {"lora_rank": {"type": "ordinal", "values": [4, 32]}, "lr": {"type": "float"}},
    }  # fmt: skip
    return plain | changes


DECLARED = {"big": {"path": "org/big", "parameters": 7e9, "width": 4096}}
OWN = {"task": "alpaca_dolly", "models": DECLARED, "proxy": "big", "target": "big", "data": {"downstream": "mmlu"}}


def ranks(*values):
    return {"space": {"lora_rank": {"type": "ordinal", "values": list(values)}}}


@pytest.mark.parametrize(
    "changes, said",
    [
        (ranks(4, 48), "problem.space.lora_rank has 48, above 32, the width of the layers of model xs; ranks up to 32"),
        (ranks(4, 48) | {"proxy": "p", "target": "m3", "extra_models": ["xs"]}, "the width of the layers of model xs"),
        (ranks(64) | {"proxy": "p", "target": "l"}, "has 64, above 48, the width of the layers of model p"),
        ({"space": {"lora_rank": {"type": "integer", "low": 1, "high": 40}}}, "has 40, above 32"),
        (ranks(0, 4), "lora_rank has 0; a rank is a whole number from 1 on"),
        (OWN | ranks(8192) | {"trainer_settings": {"max_answer_length": 9}}, "has 8192, above 4096"),
        ({"space": {"lora_rnk": {}}}, "did you mean 'lora_rank'"),
        ({"trainer_settings": {"micro_batch": 7}}, "micro_batch=7 does not divide batch=128"),
        ({"trainer_settings": {"warmup": 3}}, "warmup=3 must be from 0 to below 1"),
        ({"trainer_settings": {"batch": 0}}, "batch=0 must be a whole number from 1 on"),
        ({"trainer_settings": {"bach": 8}}, "did you mean 'batch'"),
        ({"trainer_settings": {"arguments": {"seed": 1}}}, "arguments.seed is decided by the study"),
        ({"trainer_settings": {"lora": {"r": 8}}}, "lora.r has a setting of its own"),
        ({"data": {"share": 0.2}}, "problem.data.share: task instructions is generated"),
        (OWN, "max_answer_length is missing; task alpaca_dolly needs one"),
        (OWN | {"data": {"downstream": "mmlu", "folder": "x"}}, "did you mean 'folders'"),
        (OWN | {"data": {"downstream": "mmlo"}}, "did you mean 'mmlu'"),
        (OWN | {"task": "alpaka"}, "problem.task=alpaka is no set of instructions; valid: instructions, or alpaca"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_loaded(changes, said):
    with pytest.raises(UsageError) as error:
        engine.arguments(problem(**changes))
    assert said in str(error.value)


def test_a_rank_as_wide_as_the_layer_is_allowed():
    assert engine.arguments(problem(**ranks(32)))["task"] == "instructions"


def test_the_miniature_family_knows_its_own_instructions_only():
    assert [size.name for size in engine.family(problem())] == ["xs", "p", "s", "m3", "l"]
    with pytest.raises(UsageError, match="cannot do task alpaca; it has learned instructions"):
        engine.family(problem(task="alpaca"))


def test_the_version_follows_the_settings_and_not_the_place_of_the_cache():
    one = engine.arguments(problem())
    moved = one | {"models": {size: path.replace("/bases/", "/elsewhere/") for size, path in one["models"].items()}}
    assert engine.version(moved) == engine.version(one)
    assert engine.version(engine.arguments(problem(trainer_settings={"batch": 64}))) != engine.version(one)
