"""What is recorded of a problem: the runs of a Sobol design, and all that one of them leaves behind.

A step and its validation are measured apart (validation draws from generators of its own and changes no run), so that
a replayed trial pays for the validations that it asks for and for no others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.recording.design import AS_IT_IS, BY_WIDTH
from jfhpo.core.problem import Problem
from jfhpo.core.seeds import training_seed
from jfhpo.core.trainer import PackedTrainer, Trainer, TrainingFailed
from jfhpo.core.trial import Config, Cost, Fidelity, StepRecord, Trial
from jfhpo.study.executors.pack_host import carry_out
from jfhpo.study.executors.protocol import Reply, TrainerSpec
from jfhpo.study.executors.worker import do
from jfhpo.study.report_checks import TrialFailed
from jfhpo.study.settings import StudySettings
from jfhpo.study.trial_run import Request

DESIGN_SEED = 0
TEST_SEED = StudySettings.test_seed
ETA = 3
"""Of Hyperband, whose rungs are validated."""
METRICS = (
    "reward_mean", "kl", "entropy", "grad_norm", "clip_fraction", "completion_length", "learning_rate", "loss",
)  # fmt: skip


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
    packed: int = 0
    """Runs of one size that are trained at once in one program; 0: one by one."""
    device: str = "cpu"
    """Where packed runs are trained."""

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
            "packed_on": self.device if self.packed else None,  # decides what a second is
        }


def grid(problem: Problem, every: int) -> tuple[int, ...]:
    """The steps of validation: every so many, the problem's rungs, and those of Hyperband with η = 3."""
    steps = set(range(every, problem.max_steps + 1, every)) | set(problem.rungs)
    power = 1
    while problem.max_steps / power >= 1:
        steps.add(round(problem.max_steps / power))
        power *= ETA
    return tuple(sorted(steps))


def record_run(trainer: Trainer, run: Run, problem: Problem, validate_at: Sequence[int], test_k: int) -> dict[str, Any]:
    """Train one run to the end and return its line (`course`)."""
    program, steps = course(run, problem, validate_at, test_k), iter(())
    try:
        verb, arguments = next(program)
        while True:
            try:
                steps, value = do(trainer, steps, verb, arguments)
            except TrainingFailed as failure:
                verb, arguments = program.throw(TrialFailed(str(failure), trainer.overhead()))
            else:
                verb, arguments = program.send(Reply(value, trainer.overhead()))
    except StopIteration as end:
        return end.value


def record_pack(
    trainer: PackedTrainer, runs: Sequence[Run], problem: Problem, validate_at: Sequence[int], test_k: int
) -> list[dict[str, Any]]:
    """Train runs side by side to their ends and return their lines (`course`), in their order."""
    programs = [course(run, problem, validate_at, test_k) for run in runs]
    asked = {slot: next(program) for slot, program in enumerate(programs)}
    lines: dict[int, dict[str, Any]] = {}
    while asked:
        requests = [(slot, *request) for slot, request in asked.items()]
        for (slot, *_), answer in zip(requests, carry_out(trainer, requests, _attempt), strict=True):
            kind, value, overhead = answer
            try:
                if kind == "failed":
                    asked[slot] = programs[slot].throw(TrialFailed(value, overhead))
                else:
                    asked[slot] = programs[slot].send(Reply(value, overhead))
            except StopIteration as end:
                lines[slot] = end.value
                del asked[slot]
    return [lines[slot] for slot in range(len(runs))]


def _attempt(work: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """A training that fails is recorded; anything else, such as too little memory, ends the recording."""
    try:
        return "ok", work(*arguments)
    except TrainingFailed as failure:
        return "failed", str(failure)


def course(
    run: Run, problem: Problem, validate_at: Sequence[int], test_k: int
) -> Generator[Request, Reply, dict[str, Any]]:
    """The course of one run, which asks its trainer for one thing at a time; returns its line: a list per metric over
    its steps, a cost per step, validations by step with their own costs, the test, and what starting, saving and (if it
    failed) failing cost."""
    # One step more than is taken: the last step of a trial validates by itself, and its cost would hold both.
    trial = Trial(0, run.config, Fidelity(run.model, problem.max_steps + 1), training_seed(run.seed))
    steps: list[StepRecord] = []
    validations: list[dict[str, Any]] = []

    def validate(step: int) -> Generator[Request, Reply, None]:
        found = (yield "evaluate", ("validation", 1, 0, False)).value
        validations.append({"step": step, "accuracy": found.mean_at_k, **vars(found.cost)})

    line: dict[str, Any] = {"start": vars((yield "start", (trial, None)).overhead)}
    yield from validate(0)
    status, reason, failing = "completed", "", Cost()
    try:
        while len(steps) < problem.max_steps:
            steps.append((yield "next", ()).value)
            if len(steps) in validate_at:
                yield from validate(len(steps))
    except TrialFailed as failure:
        status, reason, failing = "failed", str(failure), failure.overhead
    line |= {"status": status, "reason": reason, "failing": vars(failing), "validations": validations}
    line |= {name: [getattr(record, name) for record in steps] for name in METRICS}
    line |= {unit: [record.cost.of(unit) for record in steps] for unit in ("seconds", "tokens", "flops")}
    line["save"], line["test"] = vars(Cost()), None
    if status == "completed":
        with tempfile.TemporaryDirectory() as folder:
            line["save"] = vars((yield "save", (Path(folder) / "checkpoint",)).overhead)
        test = (yield "evaluate", ("test", test_k, TEST_SEED)).value
        line["test"] = {name: getattr(test, name) for name in ("greedy", "mean_at_k", "standard_error", "k", "prompts")}
    return line
