"""Run one study: ``python -m experiments.run problem=last_digit method=jfhpo seed=0 budget=120 out=results``.

The same command again continues a study that was killed, and shows the result of one that is finished.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: studies share a machine, one core each

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table
from yaml import YAMLError

from experiments.config import bases_of, build_problem, identity, label_of, load, plain, study_folder
from experiments.progress import BaseProgress, StudyProgress
from experiments.sweeps import sweeps
from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import Problem
from jfhpo.core.words import exit_code
from jfhpo.dynamics.early_stopping import rules
from jfhpo.study.checkpoints import CheckpointRegistry
from jfhpo.study.executors import gpus
from jfhpo.study.executors.choice import executor_name
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.study.loop import Registry, Study
from jfhpo.study.memory_checkpoints import MemoryCheckpoints
from jfhpo.study.methods import method
from jfhpo.study.no_checkpoints import NoCheckpoints
from jfhpo.study.records import CONFIG, SUMMARY, write_atomically
from jfhpo.study.settings import StudySettings
from jfhpo.study.tracking import WandbTracker, wandb_mode
from jfhpo.trainers.engine import engine

HELP = """Run, or continue, one study.

usage: python -m experiments.run [key=value ...]

  python -m experiments.run method=jfhpo seed=0
  python -m experiments.run scale=smoke method=random_search budget=5
  python -m experiments.run method=jfhpo method.early_stopping=paper out=results_paper_rules
  python -m experiments.run method=jfhpo budget=4e12 budget_unit=flops     repeatable to the last bit
  python -m experiments.run method=asha workers=16 executor=packed budget=4e12 budget_unit=flops    at once, on a GPU

groups:    problem, method, scale (`jfhpo methods` lists the methods)
settings:  seed, budget, budget_unit (seconds, tokens, flops), max_trials, out, workers,
           executor (local, packed, simulated), device (auto, cpu, cuda),
           tracking (auto, offline, online, none), checkpoints, checkpoint_every, step_timeout, test_k,
           every_step (of a simulated study: record steps without validation too), problem.<key>, method.<key>

checkpoints=false goes on without the checkpoint registry, for example because its file is locked, read-only or
corrupt: nothing is saved, resumed or reused, and every trial pays for all of its steps.
"""
QUOTA_BYTES = 2 * 1024**3
"""Checkpoints kept under ``<out>/.checkpoints`` before old ones are deleted."""


@dataclass(frozen=True)
class Parts:
    """What a study is made of."""

    problem: Problem
    trainer: TrainerSpec
    optimizer: Optimizer
    settings: StudySettings
    tracking: str | None
    """W&B mode, None for no tracking."""


def build_study(config: DictConfig) -> Parts:
    """The parts of a study, every setting checked; nothing is written."""
    if not config.out.strip():
        raise UsageError("out= must name a folder, for example out=results")
    sweeps(config.experiment)  # refuses an unknown experiment: its tables could not be drawn
    problem, trainer = build_problem(config)
    settings = StudySettings(
        experiment=config.experiment,
        scale=config.scale,
        label=label_of(config),
        seed=config.seed,
        budget=config.budget,
        max_trials=config.max_trials,
        workers=config.workers,
        executor=config.executor,
        device=config.device,
        checkpoint_every=config.checkpoint_every,
        step_timeout=config.step_timeout,
        test_k=config.test_k,
        every_step=config.every_step,
    )
    settings.check(problem)
    executor_name(settings.executor, settings.device, trainer)  # refuses an executor that cannot run it
    cls = method(config.method.name)
    chosen = cls.Settings(**{k: v for k, v in OmegaConf.to_container(config.method).items() if k != "name"})
    optimizer = cls(problem, seed=config.seed, settings=chosen)
    rules(optimizer.early_stopping)  # refuses an unknown preset
    # A simulated study is no run that anybody would want to see on a dashboard, unless asked for.
    untracked = trainer.simulated and config.tracking == "auto"
    return Parts(problem, trainer, optimizer, settings, None if untracked else wandb_mode(config.tracking))


def check_folder(config: DictConfig) -> Path:
    """The study's folder; refuses one that holds something else or cannot be written, and touches nothing."""
    folder = study_folder(config)
    path = folder / CONFIG
    if path.exists():
        _refuse_other(path, _held(path), identity(config))
    elif folder.is_dir() and any(p.name != "wandb" for p in folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no study; choose another out=")
    above = next(p for p in (folder, *folder.parents) if p.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        why = "is not writable" if above.is_dir() else "is not a folder"
        raise UsageError(f"out={config.out} cannot be written ({above} {why}); choose another")
    return folder


def prepare_folder(config: DictConfig) -> Path:
    """The study's folder with its configuration; refuses one that holds another study, before touching it."""
    folder = check_folder(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / CONFIG).exists():
            write_atomically(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(identity(config))))
    except OSError as error:
        why = f"{error.strerror}: {error.filename}"
        raise UsageError(f"out={config.out} cannot be written ({why}); choose another") from error
    return folder


def _held(path: Path) -> dict[str, Any]:
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise UsageError(f"{path} is no configuration; choose another out= or delete the folder") from error


def _refuse_other(path: Path, held: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> None:
    for key in sorted(held.keys() | wanted.keys()):
        a, b = held.get(key, "nothing"), wanted.get(key, "nothing")
        if isinstance(a, dict) and isinstance(b, dict):
            _refuse_other(path, a, b, f"{prefix}{key}.")
        elif a != b:
            raise UsageError(
                f"{path.parent} holds another configuration: {prefix}{key}={a} there, {b} here; "
                "choose another out= or delete the folder"
            )


def check_machine(config: DictConfig) -> None:
    """A `UsageError` where the study needs more GPUs than this machine has, or a library that is not installed."""
    conf = plain(config)["problem"]
    runs, needed = engine(conf["trainer"]), gpus_of(config)
    if needed and runs.gpus_each(conf) and needed > (here := visible_gpus()):
        raise UsageError(
            f"problem={config.problem.name} needs {needed} GPUs, and this machine has {here or 'none'}; --dry-run says "
            "what would be launched, problem.trainer_settings.gpus=… sets another number"
        )
    if config.executor == "packed" and config.device != "cpu":
        _check_packed_device(config)
    runs.check(conf)


def _check_packed_device(config: DictConfig) -> None:
    gpu = visible_gpus() > 0
    if config.device == "cuda" and not gpu:
        raise UsageError("device=cuda, and this machine has no GPU; device=cpu or device=auto trains without one")
    if gpu and config.budget_unit == "seconds":
        raise UsageError(
            "budget_unit=seconds with executor=packed on a GPU: alone the final run takes many times the seconds that "
            "it would be charged in a pack, and would be cut; use budget_unit=flops or tokens, or device=cpu"
        )


def gpus_of(config: DictConfig) -> int:
    """How many a trial cannot do without."""
    conf = plain(config)["problem"]
    return engine(conf["trainer"]).gpus(conf)


def visible_gpus() -> int:
    return len(gpus.visible())


def make_bases(configs: Iterable[DictConfig], console: Console) -> None:
    """Build the base models that the configured problems need and that are not cached."""
    from jfhpo.trainers.mini.family import build_bases

    specs = dict.fromkeys(spec for config in configs for spec in bases_of(config))
    if missing := [spec for spec in specs if not spec.made]:
        with BaseProgress(console, missing) as progress:
            build_bases(missing, progress)


@contextmanager
def open_registry(config: DictConfig, simulated: bool) -> Iterator[Registry]:
    """The checkpoints under the configured ``out``, closed at the end; a stand-in where a study wants or needs none."""
    if not config.checkpoints:
        yield NoCheckpoints()
    elif simulated:
        yield MemoryCheckpoints()
    else:
        with CheckpointRegistry(checkpoints_of(config), QUOTA_BYTES) as registry:
            yield registry


def check_registry(config: DictConfig) -> None:
    """A `UsageError` where the registry is there and cannot be used; makes none where there is none."""
    if config.checkpoints and checkpoints_of(config).exists():
        CheckpointRegistry(checkpoints_of(config), QUOTA_BYTES).close()


def checkpoints_of(config: DictConfig) -> Path:
    """Where the registry of its results lies."""
    return Path(config.out) / ".checkpoints"


def run_study(config: DictConfig, console: Console | None) -> dict[str, Any]:
    """Run one configured study to its end and return its summary; without a console, in silence."""
    parts = build_study(config)
    if not (study_folder(config) / SUMMARY).exists():
        check_machine(config)
    folder = prepare_folder(config)
    # The registry before the bases: they take minutes, and a bad registry is bad at once.
    with open_registry(config, parts.trainer.simulated) as registry:
        observers: list[Any] = []
        if console is not None:
            make_bases([config], console)
            observers.append(StudyProgress(console, config.budget, config.budget_unit, str(folder)))
        if parts.tracking is not None:
            observers.append(WandbTracker(parts.tracking, folder, config.experiment, identity(config)))
        study = Study(folder, parts.problem, parts.optimizer, parts.trainer, registry, parts.settings, observers)
        try:
            return study.run()
        finally:
            for observer in observers:
                observer.close()


def show(summary: dict[str, Any], console: Console) -> None:
    """The outcome of one study in the terminal."""
    table = Table(title=f"{summary['method']} on {summary['problem']}, seed {summary['seed']}", show_header=False)
    test, final = summary["test"], summary["final"]
    if test:
        sampled = f"{test['mean_at_k']:.1%} ± {test['standard_error']:.1%} (mean@{test['k']})"
        table.add_row("test accuracy", f"{sampled}, greedy {test['greedy']:.1%}")
    table.add_row("final run", f"{final['steps']} steps on {final['model']}, {final['status']} {final['reason']}")
    table.add_row("trials", ", ".join(f"{n} {status}" for status, n in summary["trials"].items() if n))
    unit = summary["budget"]["unit"]
    table.add_row("spent", f"{summary['spent'][unit]:.4g} of {summary['budget']['amount']:g} {unit}")
    for name, value in summary["recommended"].items():
        table.add_row(name, f"{value:.3g}" if isinstance(value, float) else str(value))
    console.print(table)


def main(words: Sequence[str]) -> int:
    console = Console()
    if any(w in ("-h", "--help") for w in words):
        console.print(HELP, markup=False, highlight=False)
        return 0

    def command() -> int:
        show(run_study(load(words), console), console)
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
