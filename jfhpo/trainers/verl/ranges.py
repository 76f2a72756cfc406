"""What verl's keys may be: the ranges that its own validation lets pass, and what has to divide what.

`check` looks at whatever it is given, a few words or everything, and says what is wrong in one line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.trainers.verl.overrides import ACTOR, ROLLOUT

ESTIMATORS = (
    "gae", "grpo", "grpovi", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "remax", "rloo", "opo",
    "grpo_passk", "gpg", "rloo_vectorized", "grpo_vectorized", "optimal_token_baseline", "tir_optimal_token_baseline",
    "gdpo",
)  # fmt: skip
"""`verl.trainer.ppo.core_algos.AdvantageEstimator`, and ours."""
IN_GROUPS = ("grpo", "grpovi", "grpo_passk", "rloo", "rloo_vectorized", "grpo_vectorized", "gdpo", "opo", "gpg")
"""Estimators that compare the responses of one prompt: with n = 1 every advantage is 0, or no baseline exists."""
KL_TYPES = tuple(f"{k}{plus}" for k in ("kl", "k1", "abs", "mse", "k2", "low_var_kl", "k3") for plus in ("", "+"))
"""`core_algos.kl_penalty`; ``+`` takes the gradient of k2."""
BATCH, MINI, MICRO = "data.train_batch_size", f"{ACTOR}.ppo_mini_batch_size", f"{ACTOR}.ppo_micro_batch_size_per_gpu"
N, GPUS, NODES = f"{ROLLOUT}.n", "trainer.n_gpus_per_node", "trainer.nnodes"
LONGEST = f"{ROLLOUT}.max_model_len"
LR, EPOCHS = f"{ACTOR}.optim.lr", f"{ACTOR}.ppo_epochs"
LENGTHS = ("data.max_prompt_length", "data.max_response_length")
ESTIMATOR, KL_SWITCH, DYNAMIC = "algorithm.adv_estimator", f"{ACTOR}.use_kl_loss", f"{ACTOR}.use_dynamic_bsz"

Range = tuple[Callable[[float], bool], str]
ABOVE_0: Range = (lambda v: v > 0, "a number above 0")
FROM_0: Range = (lambda v: v >= 0, "a number from 0 on")
SHARE: Range = (lambda v: 0 <= v <= 1, "a number from 0 to 1")
COUNT: Range = (lambda v: v >= 1 and v == int(v), "a whole number from 1 on")
FREQUENCY: Range = (lambda v: v == -1 or (v >= 1 and v == int(v)), "a whole number from 1 on, or -1 for never")

NUMBERS: Mapping[str, Range] = {
    LR: ABOVE_0,
    f"{ACTOR}.optim.weight_decay": FROM_0,
    f"{ACTOR}.optim.clip_grad": ABOVE_0,
    f"{ACTOR}.optim.lr_warmup_steps_ratio": SHARE,
    f"{ACTOR}.optim.min_lr_ratio": SHARE,
    f"{ACTOR}.clip_ratio_low": (lambda v: 0 < v <= 1, "a number above 0, up to 1"),
    f"{ACTOR}.clip_ratio_high": ABOVE_0,
    f"{ACTOR}.clip_ratio_c": (lambda v: v > 1, "a number above 1"),
    f"{ACTOR}.kl_loss_coef": FROM_0,
    f"{ACTOR}.entropy_coeff": FROM_0,
    EPOCHS: COUNT,
    MINI: COUNT,
    MICRO: COUNT,
    f"{ROLLOUT}.temperature": ABOVE_0,
    f"{ROLLOUT}.top_p": (lambda v: 0 < v <= 1, "a number above 0, up to 1"),
    f"{ROLLOUT}.top_k": (lambda v: v == -1 or (v >= 1 and v == int(v)), "a whole number from 1 on, or -1 for all"),
    f"{ROLLOUT}.gpu_memory_utilization": (lambda v: 0 < v <= 1, "a number above 0, up to 1"),
    f"{ROLLOUT}.tensor_model_parallel_size": COUNT,
    N: COUNT,
    LONGEST: COUNT,
    "actor_rollout_ref.model.lora_rank": (lambda v: v >= 0 and v == int(v), "a whole number from 0 on"),
    BATCH: COUNT,
    LENGTHS[0]: COUNT,
    LENGTHS[1]: COUNT,
    GPUS: COUNT,
    NODES: COUNT,
    "trainer.total_epochs": COUNT,
    "trainer.total_training_steps": COUNT,
    "trainer.save_freq": FREQUENCY,
    "trainer.test_freq": FREQUENCY,
}
CHOICES: Mapping[str, tuple[str, ...]] = {
    ESTIMATOR: ESTIMATORS,
    f"{ACTOR}.strategy": ("fsdp", "fsdp2"),
    f"{ACTOR}.kl_loss_type": KL_TYPES,
    f"{ACTOR}.optim.lr_scheduler_type": ("constant", "cosine"),
    f"{ACTOR}.loss_agg_mode": (
        "token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm",
    ),
    f"{ROLLOUT}.name": ("vllm", "sglang", "trtllm"),
    "trainer.resume_mode": ("disable", "resume_path"),
}  # fmt: skip
"""``resume_mode=auto``, verl's default, is not among them: it silently goes on from whatever a directory holds."""
SWITCHES = (KL_SWITCH, DYNAMIC)
KEYS = (*NUMBERS, *CHOICES, *SWITCHES)


def check(values: Mapping[str, Any]) -> None:
    """A `UsageError` for the first of these values that cannot be.

    Args:
        values: verl's key -> value, all of them or some; None and keys that are not in `KEYS` are passed over.
    """
    values = {key: value for key, value in values.items() if value is not None}
    for key, value in values.items():
        if key in NUMBERS:
            _check_number(key, value, *NUMBERS[key])
        elif key in CHOICES and value not in CHOICES[key]:
            raise unknown(f"value of {key}", value, CHOICES[key])
        elif key in SWITCHES and not isinstance(value, bool):
            raise UsageError(f"{key}={value} must be true or false")
    _check_group(values)
    _check_batches(values)
    _check_lengths(values)
    if values.get(ESTIMATOR) == "grpovi" and values.get(KL_SWITCH) is False:
        raise UsageError(f"{ESTIMATOR}=grpovi needs a reference policy: {KL_SWITCH}=True")


def _check_number(key: str, value: Any, holds: Callable[[float], bool], words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not holds(value):
        raise UsageError(f"{key}={value} must be {words}")


def _check_group(values: Mapping[str, Any]) -> None:
    if values.get(ESTIMATOR) in IN_GROUPS and values.get(N, 2) < 2:
        compares = f"{ESTIMATOR}={values[ESTIMATOR]} compares the n responses of a prompt"
        raise UsageError(f"{N}={values[N]} must be at least 2: {compares}")


def _check_batches(values: Mapping[str, Any]) -> None:
    """verl takes what is left over in a smaller step, pads it, or fails an assertion in a worker: all are refused."""
    batch, mini, micro = values.get(BATCH), values.get(MINI), values.get(MICRO)
    gpus, n = values.get(GPUS, 1) * values.get(NODES, 1), values.get(N)
    if batch is not None and mini is not None and batch % mini:
        raise UsageError(f"{MINI}={mini} does not divide {BATCH}={batch} (both count prompts)")
    if n is None:
        return
    for key, prompts in ((BATCH, batch), (MINI, mini)):
        if prompts is not None and prompts * n % gpus:
            raise UsageError(f"{key}={prompts} × {N}={n} = {prompts * n} responses do not divide among {gpus} GPUs")
    if None not in (mini, micro) and not values.get(DYNAMIC) and mini * n // gpus % micro:
        raise UsageError(
            f"{MICRO}={micro} does not divide the {mini * n // gpus} responses of a minibatch "
            f"({MINI}={mini} × {N}={n}{f' / {gpus} GPUs' if gpus > 1 else ''})"
        )


def _check_lengths(values: Mapping[str, Any]) -> None:
    longest, lengths = values.get(LONGEST), [values.get(key) for key in LENGTHS]
    if longest is not None and None not in lengths and longest < sum(lengths):
        said = " + ".join(f"{key}={length}" for key, length in zip(LENGTHS, lengths, strict=True))
        raise UsageError(f"{LONGEST}={longest} is less than {said}")
