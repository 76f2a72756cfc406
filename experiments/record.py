"""Record learning curves to be replayed: a Sobol design trained in full on every size, one line of JSON per run.

``python -m experiments.record problem=last_digit models=[p,m3,l] configs=128``; the same command again goes on, and
more configurations or seeds may be asked for later: what is recorded stays. `jfhpo.replay` makes the data set.

A step and its validation are measured apart (validation draws from generators of its own and changes no run), so that
a replayed trial pays for the validations that it asks for and for no others.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: runs share a machine, one core each

import numpy as np
from rich.console import Console

import jfhpo
from experiments.config import build_problem, load, plain
from experiments.run import make_bases
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import Problem
from jfhpo.core.seeds import training_seed
from jfhpo.core.trainer import Trainer, TrainingFailed
from jfhpo.core.trial import Config, Cost, Fidelity, StepRecord, Trial
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.study.machine import machine
from jfhpo.study.records import Recorder, read_records

HELP = """Record learning curves: a Sobol design, recipe first, trained in full on every size.

usage: python -m experiments.record problem=<name> [key=value ...]

  python -m experiments.record problem=last_digit models=[p,m3,l] configs=128
  python -m experiments.record problem=[last_digit,linear_equation] configs=128 jobs=1
  python -m experiments.record problem=last_digit configs=128 seeds=3 repeated=8      three seeds of eight of them

problem=     one, or several in turns: problem=[a,b]
models=      sizes to train on (default: proxy and target), each with the configuration as it is
mapped=      sizes that are also trained with the target's learning rate mapped by width (default: the smallest);
             the recipe always is, on every size
configs=     configurations of the design (default 128)
seeds=       training seeds (default 1), of the first repeated= configurations (default: all)
every=       validation at every so many steps, at the problem's rungs and at Hyperband's (default 5)
test_k=      samples per test prompt (default 4)
jobs=        runs at once (default: one per core, two at most)
out=         folder (default recordings); <out>/<problem>/records.jsonl
problem.<key>=  as for experiments.run

Killed, it goes on at the same command: at most the runs under way are lost.
"""
DESIGN_SEED = 0
TEST_SEED = 90_210
"""As in a study (`jfhpo.study.settings.StudySettings`)."""
ETA = 3
"""Of Hyperband, whose rungs are validated."""
METRICS = (
    "reward_mean", "kl", "entropy", "grad_norm", "clip_fraction", "completion_length", "learning_rate", "loss",
)  # fmt: skip
AS_IT_IS, BY_WIDTH = "none", "width"


@dataclass(frozen=True)
class Run:
    """One training run of the design."""

    configuration: int
    model: str
    transfer: str
    """How its learning rate came about: `AS_IT_IS`, or `BY_WIDTH` from the target's."""
    seed: int
    """The study's seed that trains so (`training_seed`)."""
    config: Config

    @property
    def name(self) -> tuple[int, str, str, int]:
        return self.configuration, self.model, self.transfer, self.seed


@dataclass(frozen=True)
class Plan:
    """What is to be recorded of one problem."""

    problem: Problem
    trainer: TrainerSpec
    mapped: tuple[str, ...]
    configs: int
    seeds: int
    repeated: int
    validate_at: tuple[int, ...]
    test_k: int

    def runs(self) -> Iterator[list[Run]]:
        """Of one configuration after the other, so that what is there at any moment can be used."""
        design = self.problem.initial_design(np.random.default_rng(DESIGN_SEED), self.configs)
        for number, config in enumerate(design):
            seeds = self.seeds if number < self.repeated else 1
            is_recipe = number == 0 and self.problem.recipe_first
            runs = []
            for seed in range(seeds):
                for model in self.problem.models:
                    runs.append(Run(number, model, AS_IT_IS, seed, config))
                    if model != self.problem.target and (is_recipe or model in self.mapped):
                        mapped = self.problem.map_lr(config, self.problem.target, model)
                        runs.append(Run(number, model, BY_WIDTH, seed, mapped))
            yield runs

    def header(self, conf: dict[str, Any]) -> dict[str, Any]:
        """What a recording has to agree on to be continued."""
        return {
            "problem": {key: conf[key] for key in ("name", "task", "trainer", "max_steps", "trainer_settings")},
            "space": self.problem.space.specs,
            "recipe": dict(self.problem.recipe),
            "recipe_first": self.problem.recipe_first,
            "target": self.problem.target,
            "trainer_version": self.trainer.version,
            "design_seed": DESIGN_SEED,
            "validate_at": list(self.validate_at),
            "test_k": self.test_k,
            "test_seed": TEST_SEED,
        }


def grid(problem: Problem, every: int) -> tuple[int, ...]:
    """The steps of validation: every so many, the problem's rungs, and those of Hyperband with η = 3."""
    steps = set(range(every, problem.max_steps + 1, every)) | set(problem.rungs)
    power = 1
    while problem.max_steps / power >= 1:
        steps.add(round(problem.max_steps / power))
        power *= ETA
    return tuple(sorted(steps))


# ---- one run -----------------------------------------------------------------------------------------------


def record_run(trainer: Trainer, run: Run, problem: Problem, validate_at: Sequence[int], test_k: int) -> dict[str, Any]:
    """Train one run to the end and return its line: a list per metric over its steps, a cost per step, validations by
    step with their own costs, the test, and what starting, saving and (if it failed) failing cost."""
    # One step more than is taken: the last step of a trial validates by itself, and its cost would hold both.
    trial = Trial(0, run.config, Fidelity(run.model, problem.max_steps + 1), training_seed(run.seed))
    steps: list[StepRecord] = []
    validations: list[dict[str, Any]] = []

    def validate(step: int) -> None:
        found = trainer.evaluate("validation", 1, 0, False)
        validations.append({"step": step, "accuracy": found.mean_at_k, **vars(found.cost)})

    iterator = trainer.start(trial)
    line: dict[str, Any] = {"start": vars(trainer.overhead())}
    validate(0)
    status, reason, failing = "completed", "", Cost()
    try:
        while len(steps) < problem.max_steps:
            steps.append(next(iterator))
            if len(steps) in validate_at:
                validate(len(steps))
    except TrainingFailed as failure:
        status, reason, failing = "failed", str(failure), trainer.overhead()
    line |= {"status": status, "reason": reason, "failing": vars(failing), "validations": validations}
    line |= {name: [getattr(record, name) for record in steps] for name in METRICS}
    line |= {unit: [record.cost.of(unit) for record in steps] for unit in ("seconds", "tokens", "flops")}
    line["save"], line["test"] = vars(Cost()), None
    if status == "completed":
        with tempfile.TemporaryDirectory() as folder:
            trainer.save(Path(folder) / "checkpoint")
        line["save"] = vars(trainer.overhead())
        test = trainer.evaluate("test", test_k, TEST_SEED)
        line["test"] = {name: getattr(test, name) for name in ("greedy", "mean_at_k", "standard_error", "k", "prompts")}
    return line


_trainers: dict[str, Trainer] = {}
"""Of a worker process, by problem: made once."""


def _work(problem: Problem, spec: TrainerSpec, run: Run, validate_at: Sequence[int], test_k: int) -> dict[str, Any]:
    if problem.name not in _trainers:
        module, cls = spec.path.split(":")
        _trainers[problem.name] = getattr(importlib.import_module(module), cls)(**spec.arguments)
    return record_run(_trainers[problem.name], run, problem, validate_at, test_k)


# ---- many runs ---------------------------------------------------------------------------------------------


class Clock:
    """What is left, from the mean seconds of the runs seen so far of the same problem and size."""

    def __init__(self, runs: Sequence[tuple[Plan, Run]], jobs: int):
        self.left, self.jobs = list(runs), jobs
        self.seen: dict[tuple[str, str], list[float]] = {}

    def ended(self, plan: Plan, run: Run, seconds: float) -> None:
        self.left.remove((plan, run))
        self.seen.setdefault((plan.problem.name, run.model), []).append(seconds)

    def seconds_left(self) -> float:
        known = {key: float(np.mean(values)) for key, values in self.seen.items()}
        every = float(np.mean([s for values in self.seen.values() for s in values]))
        return sum(known.get((plan.problem.name, run.model), every) for plan, run in self.left) / self.jobs


def record(plans: Sequence[tuple[Plan, dict[str, Any]]], out: Path, jobs: int, console: Console) -> int:
    """Make every run that is missing; returns how many were."""
    with ExitStack() as stack:
        recorders = {plan.problem.name: stack.enter_context(_opened(plan, conf, out)) for plan, conf in plans}
        done = {plan.problem.name: _recorded(out / plan.problem.name) for plan, _ in plans}
        turns = zip(*(plan.runs() for plan, _ in plans), strict=True)
        every = [(plan, run) for turn in turns for (plan, _), runs in zip(plans, turn, strict=True) for run in runs]
        missing = [(plan, run) for plan, run in every if run.name not in done[plan.problem.name]]
        console.print(f"{len(every) - len(missing)} of {len(every)} runs are recorded in {out}; {len(missing)} to go")
        if not missing:
            return 0
        clock, waiting, ended = Clock(missing, jobs), deque(missing), 0
        busy: dict[Future, tuple[Plan, Run, float]] = {}
        # Spawned, not forked: torch has threads by now.
        pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
        stack.callback(pool.shutdown, cancel_futures=True)
        while waiting or busy:
            while waiting and len(busy) < jobs:
                plan, run = waiting.popleft()
                future = pool.submit(_work, plan.problem, plan.trainer, run, plan.validate_at, plan.test_k)
                busy[future] = plan, run, time.monotonic()
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                plan, run, began = busy.pop(future)
                line, ended, took = future.result(), ended + 1, time.monotonic() - began
                recorders[plan.problem.name].write("run", **vars(run), took=round(took, 2), **line)
                clock.ended(plan, run, took)
                left = clock.seconds_left()
                console.print(
                    f"{ended}/{len(missing)} {plan.problem.name} {run.configuration} {run.model} {run.transfer} "
                    f"seed {run.seed}: {_outcome(line)}, {took:.1f} s; left {left / 60:.0f} min",
                    highlight=False,
                )
        return len(missing)


def _outcome(line: dict[str, Any]) -> str:
    return f"validation {line['validations'][-1]['accuracy']:.3f}" if line["status"] == "completed" else line["reason"]


class _opened:
    """A problem's recording, its header written or compared."""

    def __init__(self, plan: Plan, conf: dict[str, Any], out: Path):
        folder = out / plan.problem.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"out={out} cannot be written ({error.strerror}); choose another") from error
        wanted = plan.header(conf)
        self.recorder = Recorder(folder)
        events = read_records(folder)
        if not events:
            self.recorder.write("recording", **wanted, **_made(plan))
        elif different := [key for key, value in wanted.items() if events[0].get(key) != value]:
            self.recorder.close()
            key = different[0]
            raise UsageError(
                f"{folder} holds another recording: {key}={events[0].get(key)} there, {wanted[key]} here; choose "
                "another out= or delete the folder"
            )

    def __enter__(self) -> Recorder:
        return self.recorder

    def __exit__(self, *exception: object) -> None:
        self.recorder.close()


def _made(plan: Plan) -> dict[str, Any]:
    """How and where: to be read, not compared."""
    import torch

    sizes = [vars(size) for size in plan.problem.family]
    versions = {"jfhpo": jfhpo.__version__, "torch": torch.__version__, "numpy": np.__version__}
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"family": sizes, "versions": versions, "machine": machine(), "began": began}


def _recorded(folder: Path) -> set[tuple[int, str, str, int]]:
    names = ("configuration", "model", "transfer", "seed")
    return {tuple(e[name] for name in names) for e in read_records(folder) if e["event"] == "run"}


# ---- command line ------------------------------------------------------------------------------------------

COUNTS = {"configs": 128, "seeds": 1, "repeated": 0, "every": 5, "test_k": 4, "jobs": min(2, os.cpu_count() or 1)}
LISTS = ("problem", "models", "mapped")


def plans_of(words: Sequence[str]) -> tuple[list[tuple[Plan, Any]], Path, int]:
    """What is to be recorded, where, and how many runs at once; `UsageError` in one line for anything wrong."""
    counts, lists, out, rest = dict(COUNTS), dict.fromkeys(LISTS, ()), "recordings", []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"'{word}' is not key=value; for example problem=last_digit")
        if key in COUNTS:
            if not value.isdigit() or (int(value) < 1 and key != "repeated"):
                raise UsageError(f"{key}={value} must be a whole number from 1 on")
            counts[key] = int(value)
        elif key in LISTS:
            lists[key] = tuple(v for v in value.strip("[]").replace(" ", "").split(",") if v)
        elif key == "out":
            out = value
        elif key.startswith("problem."):
            rest.append(word)
        else:
            raise unknown("setting", key, [*COUNTS, *LISTS, "out", "problem.<key>"])
    if not lists["problem"]:
        raise UsageError("problem= is missing; for example problem=last_digit")
    return [_plan(name, rest, counts, lists) for name in lists["problem"]], Path(out), counts["jobs"]


def _plan(name: str, rest: Sequence[str], counts: dict[str, int], lists: dict[str, Any]) -> tuple[Plan, Any]:
    extra = [f"problem.extra_models=[{','.join(lists['models'])}]"] if lists["models"] else []
    config = load([f"problem={name}", *extra, *rest])
    if lists["models"]:
        missing = {config.problem.proxy, config.problem.target} - set(lists["models"])
        if missing:  # proxy and target are the smallest and largest of those listed
            family = [size.name for size in build_problem(config)[0].family if size.name in lists["models"]]
            config = load(
                [f"problem={name}", *extra, *rest, f"problem.proxy={family[0]}", f"problem.target={family[-1]}"]
            )
    problem, trainer = build_problem(config)
    mapped = lists["mapped"] or problem.models[:1]
    for model in mapped:
        if model not in problem.models:
            raise unknown("mapped", model, problem.models)
    plan = Plan(
        problem, trainer, tuple(mapped), counts["configs"], counts["seeds"], counts["repeated"] or counts["configs"],
        grid(problem, counts["every"]), counts["test_k"],
    )  # fmt: skip
    return plan, config


def main(words: Sequence[str]) -> int:
    console = Console(width=None if sys.stdout.isatty() else 200)
    if any(w in ("-h", "--help") for w in words):
        console.print(HELP, markup=False, highlight=False)
        return 0
    try:
        plans, out, jobs = plans_of(words)
        make_bases([config for _, config in plans], console)
        record([(plan, plain(config)["problem"]) for plan, config in plans], out, jobs, console)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
