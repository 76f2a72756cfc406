"""The estimates against sums worked by hand, and the declared shapes against the architectures they are of."""

from __future__ import annotations

import dataclasses

import pytest
from transformers import LlamaConfig, Qwen2Config, Qwen3Config

from experiments.config import load, plain
from jfhpo.trainers.declared import SHAPE
from jfhpo.trainers.estimate import Assumptions, Job, Shape, memory, step
from jfhpo.trainers.hf.shape import shape_of

SHAPE_7B = Shape(7_000_000_000, 4000, 30, 8, 100, 150_000, 1_000_000_000)
JOB = Job(1000, 5, 500, 1000, gpus=8, tokens_at_once=10_000, sampler_share=0.5, tensor_parallel=2)
ASSUMED = Assumptions(card_gb=80, peak_tflops=1000, train_utilisation=0.4, sample_utilisation=0.1, prompt_filled=0.2,
                      response_filled=0.4, allowance_gb=3)  # fmt: skip


def test_memory_of_seven_billion_parameters_on_eight_gpus_by_hand():
    found = memory(SHAPE_7B, JOB, ASSUMED)
    training = {term.name: term.gb for term in found.training}
    assert training == {
        "weights fp32": pytest.approx(3.5), "Adam": pytest.approx(7.0), "gradients": pytest.approx(3.5),
        "reference": pytest.approx(1.75), "gathered bf16": pytest.approx(2 * (1.0 + 2 * 6.0 / 30)),
        "activations": pytest.approx(2 * 10_000 * 4000 * 30 / 1e9 + 34 * 10_000 * 4000 / 1e9),
        "logits": pytest.approx(15.0), "CUDA and libraries": 3.0,
    }  # fmt: skip
    assert sum(term.gb for term in found.sampling) == pytest.approx(40 + 10.5 + 1.75 + 3)
    assert found.peak_gb == pytest.approx(55.25), "sampling is the larger of the two"
    assert found.cache_tokens == int((40e9 - 7e9) / (4 * 30 * 8 * 100 / 2))


def test_a_reference_that_is_offloaded_or_absent_takes_nothing():
    offloaded = dataclasses.replace(JOB, reference_bytes=0)
    absent = dataclasses.replace(JOB, has_reference=False)
    less = memory(SHAPE_7B, JOB, ASSUMED).peak_gb - 1.75
    assert memory(SHAPE_7B, offloaded, ASSUMED).peak_gb == memory(SHAPE_7B, absent, ASSUMED).peak_gb == less
    assert step(SHAPE_7B, offloaded, ASSUMED).seconds == step(SHAPE_7B, JOB, ASSUMED).seconds, "it still reads"
    assert step(SHAPE_7B, absent, ASSUMED).other_flops == pytest.approx(
        10 / 12 * step(SHAPE_7B, JOB, ASSUMED).other_flops
    )


def test_a_step_by_hand():
    found = step(SHAPE_7B, JOB, ASSUMED)
    tokens = 1000 * 5 * (0.2 * 500 + 0.4 * 1000)
    assert found.tokens == pytest.approx(tokens)
    assert found.sampling_flops == pytest.approx(2 * 7e9 * tokens)
    assert found.other_flops == pytest.approx((2 + 2 + 8) * 7e9 * tokens)
    assert found.seconds == pytest.approx(14e9 * tokens / 8e14 + 84e9 * tokens / 3.2e15)
    assert found.tokens_per_second == pytest.approx(tokens / found.seconds / 8)


def test_passes_repeat_the_training_only():
    once, twice = (step(SHAPE_7B, dataclasses.replace(JOB, passes=n), ASSUMED) for n in (1, 2))
    assert twice.sampling_flops == once.sampling_flops
    assert twice.other_flops == pytest.approx(once.other_flops * 20 / 12)


def test_without_a_sampler_there_is_one_phase():
    found = memory(SHAPE_7B, dataclasses.replace(JOB, sampler_share=0.0), ASSUMED)
    assert (found.sampling, found.cache_tokens) == ((), 0)
    assert found.peak_gb == pytest.approx(sum(term.gb for term in found.training))


def test_a_model_that_does_not_say_its_shape_is_not_estimated():
    assert Shape.of({"path": "x", "parameters": 1, "width": 1}) is None


def llama(**sizes):
    return LlamaConfig(vocab_size=128256, num_attention_heads=32, num_key_value_heads=8, **sizes)


PUBLISHED = {
    "llama_1b": llama(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, head_dim=64,
                      tie_word_embeddings=True),
    "llama_8b": llama(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, tie_word_embeddings=False),
    "qwen_500m": Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                             num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen_7b": Qwen2Config(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
                           num_attention_heads=28, num_key_value_heads=4, tie_word_embeddings=False),
    "qwen3_600m": Qwen3Config(vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
                              num_attention_heads=16, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True),
    "qwen3_14b": Qwen3Config(vocab_size=151936, hidden_size=5120, intermediate_size=17408, num_hidden_layers=40,
                             num_attention_heads=40, num_key_value_heads=8, head_dim=128, tie_word_embeddings=False),
}  # fmt: skip
"""The models' own config.json, as far as it decides over their shape."""


@pytest.mark.parametrize("family", ["llama3_1", "qwen2_5", "qwen3"])
def test_declared_models_are_what_transformers_makes_of_their_configuration(family):
    models = plain(load(["problem=gsm8k", f"family={family}"]))["problem"]["models"]
    for name, declared in models.items():
        found = shape_of(PUBLISHED[name])
        assert {key: declared[key] for key in ("parameters", "width", *SHAPE)} == found
