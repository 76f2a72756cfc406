"""What a dry run takes verl's defaults to be, against verl's own files; and a step, read from verl's words."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from experiments.config import load, plain
from jfhpo.trainers.verl import dry_run
from jfhpo.trainers.verl.compose import compose, installed


@pytest.mark.skipif(not installed(), reason="verl is not installed (./run_all.sh setup verl-cpu)")
def test_the_defaults_are_verls():
    words = ["data.train_batch_size=8", "actor_rollout_ref.actor.ppo_mini_batch_size=8",
             "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
             "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8",
             "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8", "trainer.resume_mode=disable",
             "algorithm.adv_estimator=grpo", "actor_rollout_ref.rollout.n=8", "actor_rollout_ref.rollout.name=vllm",
             "actor_rollout_ref.model.path=somewhere"]  # fmt: skip
    config = compose(words)
    assert {key: OmegaConf.select(config, key) for key in dry_run.DEFAULTS} == dict(dry_run.DEFAULTS)


def test_a_step_is_what_the_words_say():
    job = dry_run.job(plain(load(["scale=paper", "problem=math", "family=qwen3"]))["problem"])
    assert (job.prompts, job.n, job.gpus, job.passes) == (1024, 5, 8, 1)
    assert (job.prompt_tokens, job.response_tokens, job.tokens_at_once) == (1024, 1024, 16384)
    assert (job.sampler_share, job.tensor_parallel) == (0.5, 2)
    assert job.has_reference and job.reference_bytes == 0, "it is offloaded, and reads all the same"


def test_without_dynamic_batches_a_pass_is_a_micro_batch_of_whole_sequences():
    problem = plain(load(["problem=gsm8k", "problem.trainer_settings.overrides=[]"]))["problem"]
    problem["trainer_settings"]["micro_batch"] = 4
    job = dry_run.job(problem)
    assert job.tokens_at_once == 4 * (512 + 1024) and job.reference_bytes == 2
