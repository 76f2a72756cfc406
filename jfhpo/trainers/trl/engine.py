"""TRL as a study knows it: the miniature family on a generated task, or declared models on the paper's data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.optional import optional
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets import own_reward
from jfhpo.tasks.datasets.own import OWN
from jfhpo.tasks.graded import QUESTIONS as GRADED
from jfhpo.trainers.engine import Engine, Settings, one_gpu
from jfhpo.trainers.estimate import Job
from jfhpo.trainers.hf import problem as hf
from jfhpo.trainers.hf.settings import ROLLOUTS, tried
from jfhpo.trainers.hf.version import version_of
from jfhpo.trainers.trl.arguments import FIELDS, TrlSettings, batches, grpo_arguments

MODULE = "jfhpo.trainers.trl.trainer"


def arguments(problem: Settings) -> dict[str, Any]:
    """Everything that can be wrong in the settings is refused here, before a model is loaded."""
    from jfhpo.trainers.trl.material import check_own

    optional("trl", "trl", "problem.trainer=trl")
    settings = hf.read_settings(TrlSettings, problem["trainer_settings"])
    hf.check_grpo(problem, settings)
    if settings.reward == "graded" and problem["task"] not in GRADED:
        raise unknown("task with a graded reward (problem.trainer_settings.reward=graded)", problem["task"], GRADED)
    hf.check_names(problem["space"], tuple(FIELDS), "GRPOConfig")
    # The batch must divide for every number of rollouts that may be tried.
    for config in [{"rollout_n": int(n)} for n in rollouts(problem)] or [{}]:
        grpo_arguments(config, settings, problem["max_steps"])
    if problem["task"] == OWN:
        check_own(problem["data"], settings.extraction)
    return hf.trainer_arguments(problem)


def rollouts(problem: Settings) -> list[Any]:
    """Numbers of completions per prompt in the space; empty where it is not searched."""
    return tried(problem["space"].get("rollout_n", {}))


def version(arguments: Mapping[str, Any]) -> str:
    libraries = ("torch", "transformers", "trl", *(("peft",) if arguments["settings"].get("lora") else ()))
    return version_of(own_reward.with_digest(arguments), MODULE, libraries)


def job(problem: Settings) -> Job | None:
    """None with LoRA, whose state is not that of the whole model, and where the prompts cannot be read."""
    settings = hf.read_settings(TrlSettings, problem["trainer_settings"])
    more = settings.arguments or {}
    prompt = longest_prompt(problem)
    if settings.lora is not None or prompt is None:
        return None
    n = int(max(rollouts(problem), default=more.get("num_generations", ROLLOUTS)))
    response = settings.max_completion_length or TASKS[problem["task"]].completion_length
    return Job(
        prompts=settings.prompts_per_step,
        n=n,
        prompt_tokens=prompt,
        response_tokens=response,
        gpus=1,
        tokens_at_once=batches(settings, n)["per_device_train_batch_size"] * (prompt + response),
        passes=settings.epochs,
        recomputes=bool(more.get("gradient_checkpointing", False)),
        reference_bytes=4,
        old_log_probs=settings.updates > 1,
        sampler_share=float(more.get("vllm_gpu_memory_utilization", 0.3)) if settings.use_vllm else 0.0,
    )


def longest_prompt(problem: Settings) -> int | None:
    """In tokens of the target, of the longest texts of the training prompts; None where they cannot be read."""
    from jfhpo.tasks.datasets import load
    from jfhpo.trainers.hf.run import tokenizer_of
    from jfhpo.trainers.trl.material import read_data

    if problem["task"] in TASKS:
        return TASKS[problem["task"]].prompt_length
    if problem["task"] == OWN:
        prompts = [row["prompt"] for row in read_data(problem["data"]).splits["train"]]
    else:
        try:
            prompts = [row.prompt for row in load(problem["task"], **problem["data"]).splits["train"]]
        except UsageError:  # the hub, from a machine without network
            return None
    texts = [p if isinstance(p, str) else "\n".join(str(m["content"]) for m in p) for p in prompts]
    read = tokenizer_of(str(problem["models"][problem["target"]]["path"]))
    return max(len(read(text)["input_ids"]) for text in sorted(texts, key=len)[-16:])


def gpus(problem: Settings) -> int:
    return int(bool(problem["trainer_settings"].get("use_vllm", False)))


ENGINE = Engine(
    "trl", f"{MODULE}:TrlTrainer", hf.family, arguments, version, hf.bases, gpus, one_gpu, in_worker=True, job=job
)
