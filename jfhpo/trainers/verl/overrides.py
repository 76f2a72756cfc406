"""A configuration as Hydra overrides of `verl.trainer.main_ppo` 0.9.1, under the keys that verl reads.

Some look right and are read by nobody, or lose to another: ``actor.clip_ratio`` does nothing (clip_ratio_low and
clip_ratio_high have defaults of their own and win), ``actor.grad_clip`` is dead (``optim.clip_grad`` is live), and
``actor.kl_loss_coef`` does nothing unless ``actor.use_kl_loss`` is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Config

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
KEYS: Mapping[str, tuple[str, ...]] = {
    "lr": (f"{ACTOR}.optim.lr",),
    "lr_scheduler": (f"{ACTOR}.optim.lr_scheduler_type",),
    "clip_ratio": (f"{ACTOR}.clip_ratio_low", f"{ACTOR}.clip_ratio_high"),
    "grad_clip": (f"{ACTOR}.optim.clip_grad",),
    "kl_loss_coef": (f"{ACTOR}.kl_loss_coef",),
    "rollout_n": (f"{ROLLOUT}.n",),
    "temperature": (f"{ROLLOUT}.temperature",),
    "entropy_coeff": (f"{ACTOR}.entropy_coeff",),
    "weight_decay": (f"{ACTOR}.optim.weight_decay",),
    "advantage": ("algorithm.adv_estimator",),
}
"""The project's names of hyperparameters -> verl's keys. A name with a dot is a key of verl's as it is."""
DEAD: Mapping[str, str] = {
    f"{ACTOR}.clip_ratio": f"{ACTOR}.clip_ratio_low and {ACTOR}.clip_ratio_high",
    f"{ACTOR}.grad_clip": f"{ACTOR}.optim.clip_grad",
    f"{ACTOR}.use_torch_compile": f"{ACTOR}.fsdp_config.use_torch_compile",
    "actor_rollout_ref.ref.use_torch_compile": "actor_rollout_ref.ref.fsdp_config.use_torch_compile",
}
"""Keys that verl accepts and does not act on -> those it does."""
IDLE: Mapping[str, str] = {
    f"{ACTOR}.kl_loss_coef": f"{ACTOR}.use_kl_loss",
    f"{ACTOR}.kl_loss_type": f"{ACTOR}.use_kl_loss",
    "algorithm.kl_ctrl.kl_coef": "algorithm.use_kl_in_reward",
    "algorithm.kl_penalty": "algorithm.use_kl_in_reward",
}
"""Keys that verl acts on only under a switch -> the switch, off by default."""


def assignments(config: Config) -> dict[str, Any]:
    """Key -> value.

    Raises:
        UsageError: a name that is no key, or a key that verl does not act on.
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in DEAD:
            raise UsageError(f"verl accepts {name} and does not act on it; use {DEAD[name]}")
        if name not in KEYS and "." not in name:
            raise UsageError(f"'{name}' is no hyperparameter of verl's here; valid: {', '.join(KEYS)}, or a dotted key")
        for key in KEYS.get(name, (name,)):
            found[key] = value
    # Without it there is no reference policy, which GRPOVI needs too (`jfhpo.trainers.verl.grpovi`).
    if f"{ACTOR}.kl_loss_coef" in found or found.get("algorithm.adv_estimator") == "grpovi":
        found[f"{ACTOR}.use_kl_loss"] = True
    return found


def overrides(config: Config) -> list[str]:
    """``key=value`` words."""
    return [f"{key}={_word(value)}" for key, value in assignments(config).items()]


def _word(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
