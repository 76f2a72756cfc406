"""Configuration: Hydra groups checked against dataclasses, and the objects of a study made from them.

``key=value`` words override; a misspelt key or a value that does not fit is one line naming the nearest valid one.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import Problem
from jfhpo.core.space import SearchSpace
from jfhpo.core.words import key_value
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.study.methods import methods
from jfhpo.trainers.engine import engine

if TYPE_CHECKING:
    from jfhpo.trainers.mini.family import BaseSpec

CONF = Path(__file__).parent / "conf"
NOT_IDENTITY = ("out", "tracking", "step_timeout", "scale", "checkpoints", "device")
"""Settings that may differ when a study is continued: they decide where and how, not what."""
UNLESS_SET = ("max_trials", "every_step", "executor")
"""Settings that are part of a study once they are set. Studies that began before there were such ones can go on."""
FAMILY = "family@problem.family="
"""How Hydra wants ``family=`` to be written: it is chosen within a problem."""
FREE = ("+problem.trainer_settings.", "+problem.models.", "+problem.data.")
"""What `+` may add: the engine knows these settings, and refuses what is none."""
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    ListConfig: "a list like [1,2]",
    DictConfig: "a group of settings; set them one by one",
}


@dataclass
class ProblemConfig:
    name: str = MISSING
    task: str = MISSING
    trainer: str = MISSING
    proxy: str = MISSING
    target: str = MISSING
    extra_models: list[str] = field(default_factory=list)
    """More sizes that trials may use, besides proxy and target."""
    max_steps: int = MISSING
    rungs: list[int] = field(default_factory=list)
    recipe_first: bool = True
    """Every method's first point is the recipe."""
    space: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    trainer_settings: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    """Sizes of a family of one's own: name -> path, parameters, width and, where known, relative_cost."""
    data: dict[str, Any] = field(default_factory=dict)
    """Where a data set comes from: the arguments of `jfhpo.tasks.datasets.load`."""
    pretrain: dict[str, Any] = field(default_factory=dict)
    """How the mini trainer's bases are made, where it differs from the family's own settings."""


@dataclass
class RunConfig:
    """One study."""

    defaults: list[Any] = field(
        default_factory=lambda: ["_self_", {"problem": "last_digit"}, {"method": "jfhpo"}, {"scale": "mini"}]
    )
    experiment: str = "main"
    scale: str = "mini"
    problem: ProblemConfig = MISSING
    method: Any = MISSING
    label: str = ""
    """What the study is called in folders and tables, where that is not the method's name."""
    seed: int = 0
    budget: float = 120.0
    """In `budget_unit`, for the whole study: search, optimizer and the final run on the target."""
    budget_unit: str = "seconds"
    """seconds (of trainer CPU time), tokens or flops."""
    max_trials: int | None = None
    """Search trials at most, the same for every method; null: as many as the budget buys."""
    out: str = "results"
    workers: int = 1
    executor: str | None = None
    """local, packed (mini only: the workers' trials advance together in one program) or simulated; null: what suits
    the trainer."""
    device: str = "auto"
    """Where packed trials are trained: cpu, cuda, or auto, a GPU where there is one."""
    checkpoint_every: int = 10
    checkpoints: bool = True
    """Whether to use the registry under ``<out>/.checkpoints``. Without it nothing is saved, resumed or reused: every
    trial starts from the base model and pays for all its steps. May be switched off for a study that has begun."""
    step_timeout: float = 600.0
    test_k: int = 10
    every_step: bool = False
    """Of a simulated study: whether its records hold the steps, too, at which nothing was validated. Real ones hold
    every step."""
    tracking: str = "auto"
    """W&B: auto (online when the environment says so, else offline), offline, online or none."""


def _register() -> None:
    store = ConfigStore.instance()
    store.store(name="run", node=RunConfig)
    store.store(group="problem", name="schema", node=ProblemConfig)
    for name, cls in methods().items():
        node = dataclasses.make_dataclass(f"{cls.__name__}Config", [("name", str, name)], bases=(cls.Settings,))
        store.store(group="method", name=name, node=node)


def groups() -> dict[str, list[str]]:
    """The valid names of each configuration group."""
    found = {g: sorted(p.stem for p in (CONF / g).glob("[!_]*.yaml")) for g in ("problem", "family", "scale")}
    return found | {"method": sorted(methods())}


def load(words: Sequence[str]) -> DictConfig:
    """The configuration of one study from its ``key=value`` words; `UsageError` in one line for anything wrong."""
    _register()
    valid, chosen = groups(), []
    words = [word.replace("family=", FAMILY, 1) if word.startswith("family=") else word for word in words]
    for word in words:
        key, value = key_value(word.replace(FAMILY, "family=", 1), "method=jfhpo")
        if key == "method.name":
            raise UsageError(f"'{word}': choose a method with method=<name>; valid: {', '.join(valid['method'])}")
        if key in valid:
            if value not in valid[key]:
                raise unknown(key, value, valid[key])
            chosen.append(word)
        else:
            _check_readable(word)
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        defaults = _defaults(tuple(chosen))
        for word in words:
            if word not in chosen and not word.startswith(FREE):
                _check_key(defaults, word.partition("=")[0].lstrip("+~"))
        return _compose(words, defaults)


def _check_readable(word: str) -> None:
    """What stands after the equals sign must be one value that Hydra can read."""
    try:
        several = OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException as error:
        raise UsageError(f"'{word}' cannot be read; a list is written key=[1,2], odd characters key='…'") from error
    if several:
        raise UsageError(f"'{word}' gives several values; a list is written key=[1,2]")


@functools.cache
def _defaults(chosen: tuple[str, ...]) -> DictConfig:
    """What the chosen groups hold before anything is overridden; to be read only."""
    return _compose(chosen)


def _compose(words: Sequence[str], defaults: DictConfig | None = None) -> DictConfig:
    try:
        config = compose("run", overrides=list(words))
        OmegaConf.resolve(config)
        return config
    except (HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines() if line.strip()]
        if "Could not override 'family" in lines[0]:
            known = "gsm8k, math, openbookqa and mmlu"
            raise UsageError(f"family= chooses the models of {known}; other problems have their own") from error
        word = lines[0].removeprefix("Error merging override ")
        if defaults is not None and word != lines[0]:
            wanted = KINDS.get(type(OmegaConf.select(defaults, word.partition("=")[0])), "of the right kind")
            raise UsageError(f"{word} is not {wanted}") from error
        raise UsageError("; ".join(lines[:2])) from error


def _check_key(config: DictConfig, key: str) -> None:
    """Every dot of the key must lead somewhere."""
    node: Any = config
    path = key.split(".")
    for depth, part in enumerate(path):
        names = [str(k) for k in node] if OmegaConf.is_dict(node) else []
        if part not in names:
            where = ".".join(path[:depth])
            valid = [f"{where}.{n}" if where else n for n in names]
            everywhere = difflib.get_close_matches(key, valid + all_keys(config), n=1, cutoff=0.5)
            hint = f" (did you mean '{everywhere[0]}'?)" if everywhere else ""
            raise UsageError(f"unknown setting '{key}'{hint}; valid here: {', '.join(sorted(valid)) or 'nothing'}")
        node = node[part]


def all_keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Every dotted key of a configuration."""
    out = []
    for key in config:
        out.append(f"{prefix}{key}")
        if not OmegaConf.is_missing(config, key) and OmegaConf.is_dict(config[key]):
            out += all_keys(config[key], f"{prefix}{key}.")
    return out


def plain(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=True, enum_to_str=True)


def identity(config: DictConfig) -> dict[str, Any]:
    """What makes a study this study: a folder holds exactly one."""
    unset = [k for k in UNLESS_SET if config[k] == getattr(RunConfig, k)]
    return {k: v for k, v in plain(config).items() if k not in NOT_IDENTITY and k not in unset}


def study_folder(config: DictConfig) -> Path:
    return Path(config.out) / config.experiment / config.problem.name / label_of(config) / f"seed={config.seed}"


def label_of(config: DictConfig) -> str:
    """The study's row in tables: its label, or its method."""
    label = config.label or config.method.name
    if not re.fullmatch(r"\w[\w.-]*", label):
        raise UsageError(f"label={label} names a folder: letters and digits, then also . and -")
    return label


def build_problem(config: DictConfig) -> tuple[Problem, TrainerSpec]:
    """The problem and the trainer that runs its trials. Bases need not exist yet."""
    conf = plain(config)["problem"]
    if not re.fullmatch(r"\w[\w.-]*", conf["name"]):
        raise UsageError(f"problem.name={conf['name']} names a folder: letters and digits, then also . and -")
    runs = engine(conf["trainer"])
    family = {size.name: size for size in runs.family(conf)}
    roles = [("proxy", conf["proxy"]), ("target", conf["target"])]
    for role, size in [*roles, *(("extra_models", size) for size in conf["extra_models"])]:
        if size not in family:
            raise unknown(f"problem.{role}", size, family)
    recipe = dict(conf["recipe"])
    if "lr_at_width" in recipe:
        pair = _numbers(recipe.pop("lr_at_width"))
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(v, int | float) for v in pair)):
            raise UsageError(f"problem.recipe.lr_at_width={pair} must be [learning rate, width], e.g. [1e-6, 3584]")
        recipe["lr"] = pair[0] * pair[1] / family[conf["target"]].width
    space = SearchSpace(_numbers(conf["space"]), runs.listed(conf))
    recipe = space.validate(_numbers(recipe))
    if space.listed is not None:
        recipe, wanted = space.nearest(recipe), recipe
        if not np.allclose(space.encode([recipe]), space.encode([wanted])):  # to the last digit it may differ
            raise UsageError(f"problem.recipe={wanted} is not among the {len(space.listed)} configurations there are")
    problem = Problem(
        name=conf["name"],
        task=conf["task"],
        space=space,
        family=tuple(family.values()),
        proxy=conf["proxy"],
        target=conf["target"],
        max_steps=conf["max_steps"],
        rungs=tuple(conf["rungs"]),
        recipe=recipe,
        trainer=conf["trainer"],
        trainer_settings=conf["trainer_settings"],
        cost_unit=config.budget_unit,
        recipe_first=conf["recipe_first"],
        extra_models=tuple(conf["extra_models"]),
    )
    arguments = runs.arguments(conf)
    return problem, TrainerSpec(
        name=runs.name,
        path=runs.trainer,
        arguments=arguments,
        version=runs.version(arguments),
        simulated=runs.simulated,
        packed=runs.packed,
        gpus_each=runs.gpus_each(conf),
        in_worker=runs.in_worker,
    )


def bases_of(config: DictConfig) -> list[BaseSpec]:
    """The base models of the miniature family that the problem's trials start from."""
    conf = plain(config)["problem"]
    return engine(conf["trainer"]).bases(conf)


def _numbers(value: Any) -> Any:
    """YAML reads 1e-5 as text (it wants 1.0e-5); people write 1e-5."""
    if isinstance(value, Mapping):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
