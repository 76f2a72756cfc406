"""`compose`: the configuration that ``python -m verl.trainer.main_ppo WORDS`` would run with, made and checked here.

verl composes and validates after a minute of start-up, and lets much pass: a learning rate below 0, an estimator that
nobody registered, a key that it accepts and never reads. Here the same composition takes seconds, starts neither Ray
nor an engine, and refuses what cannot train, in one line with the key, the value and what is allowed.

`check_words` needs no verl: it reads the words alone. `compose` runs it first, then verl's own composition and
`validate_config`, then the checks of `jfhpo.trainers.verl.ranges` on everything, defaults included.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jfhpo.core.errors import UsageError
from jfhpo.core.optional import optional
from jfhpo.trainers.verl import ranges
from jfhpo.trainers.verl.overrides import ACTOR, DEAD, IDLE, ROLLOUT

ADDED = (
    f"{ACTOR}.fsdp_config.mixed_precision", "actor_rollout_ref.ref.fsdp_config.mixed_precision",
    f"{ROLLOUT}.enable_sleep_mode", f"{ROLLOUT}.engine_kwargs", "actor_rollout_ref.model.override_config",
    "algorithm.grpovi", "data.apply_chat_template_kwargs", "ray_kwargs.ray_init",
    "reward.custom_reward_function.reward_kwargs", "trainer.jfhpo",
)  # fmt: skip
"""What ``+key=value`` may add: verl reads these, or what lies below them, though its own files do not have them."""

REFUSALS = (
    AssertionError, AttributeError, KeyError, NotImplementedError, TypeError, ValueError, HydraException,
    OmegaConfBaseException,
)  # fmt: skip
"""What verl raises for a configuration that it cannot use, or that has a value where it looks for a group."""


def installed() -> bool:
    """Whether `compose` can be called: a look at the packages, no import."""
    return importlib.util.find_spec("verl") is not None


def check_words(words: Sequence[str]) -> dict[str, Any]:
    """Key -> value of Hydra's ``key=value`` words (the last one counts, as in Hydra), checked without verl.

    Raises:
        UsageError: a word that cannot be read, removes or sweeps; a key that verl accepts and does not act on, or that
            ``+`` adds in vain; a value out of range, alone or beside the others.
    """
    found: dict[str, Any] = {}
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            raise UsageError(f"'{word}' cannot be read; verl takes key=value, and +key=value adds") from error
        key = override.key_or_group
        if override.is_delete() or override.is_sweep_override():
            raise UsageError(f"'{word}' must give one value: key=value")
        if key in DEAD:
            raise UsageError(f"verl accepts {key} and does not act on it; use {DEAD[key]}")
        if override.is_add() and not any(f"{key}.".startswith(f"{known}.") for known in ADDED):
            raise UsageError(f"verl reads no key {key}, and '+' would add it in vain; it may add {', '.join(ADDED)}")
        found[key] = _plain(override.value())
    for key in found:
        if key in IDLE and found.get(IDLE[key]) is not True:
            raise UsageError(f"{key} does nothing without {IDLE[key]}=True")
    ranges.check(found)
    return found


def compose(words: Sequence[str]) -> DictConfig:
    """verl's ``ppo_trainer`` configuration under these words, composed by Hydra and validated by verl, and by us.

    A function of the words alone: nothing is launched, written or printed. About 4 s the first time, for verl's import.

    Raises:
        UsageError: as `check_words`; a key that verl does not have, with the nearest; what verl's validation refuses;
            a value out of range among the defaults; verl not installed, with the extra that brings it.
    """
    check_words(words)
    optional("verl", "verl", "composing a verl configuration")
    with _quietly():
        from verl.trainer.ppo.utils import need_critic, need_reference_policy
        from verl.utils.config import omega_conf_to_dataclass, validate_config

        config = _composed(words)
        try:
            ranges.check({key: OmegaConf.select(config, key) for key in ranges.KEYS})
            validate_config(config, need_reference_policy(config), need_critic(config))
            omega_conf_to_dataclass(config.actor_rollout_ref.rollout)  # has checks that validate_config leaves out
        except REFUSALS as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"verl refuses this configuration: {_first_line(error.__cause__ or error)}") from error
    return config


def _composed(words: Sequence[str]) -> DictConfig:
    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            return hydra_compose("ppo_trainer", overrides=list(words))
    except (HydraException, OmegaConfBaseException) as error:
        message = _first_line(error)
        for word in words:
            key, _, _ = word.partition("=")
            if key in message.split("'") or f"override {word}" in message:
                raise UsageError(_unknown_or_unfit(word, error)) from error
        raise UsageError(f"verl's configuration cannot be composed: {message}") from error


def _unknown_or_unfit(word: str, error: Exception) -> str:
    """One line for the word that Hydra refused: no such key, with the nearest, or a value that does not fit."""
    key = word.partition("=")[0].lstrip("+")
    with initialize_config_module("verl.trainer.config", version_base=None):
        known = all_keys(OmegaConf.to_container(hydra_compose("ppo_trainer"), resolve=False))
    if key in known:
        return f"{word} does not fit: {_first_line(error.__cause__ or error)}"
    elsewhere = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, elsewhere, n=1, cutoff=0) or difflib.get_close_matches(key, known, 1, 0.85)
    return f"verl 0.9.1 reads no key {key}" + (f" (did you mean {near[0]}?)" if near else "")


def all_keys(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Every dotted key of a configuration as plain data."""
    found = []
    for name, value in config.items():
        found.append(f"{prefix}{name}")
        if isinstance(value, Mapping):
            found += all_keys(value, f"{prefix}{name}.")
    return found


def _plain(value: Any) -> Any:
    """A parsed value without Hydra's quoting."""
    return getattr(value, "text", value)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """verl prints and warns while it validates; what matters is raised."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
