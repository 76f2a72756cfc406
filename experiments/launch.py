"""Run what is missing of an experiment, two studies at a time: the body of ``./run_all.sh``."""

from __future__ import annotations

import heapq
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from experiments.config import bases_of, build_problem, groups, label_of, load, study_folder
from experiments.plan import planned, shell
from experiments.plan_view import show_plan
from experiments.progress import progress_view
from experiments.run import (
    Parts,
    build_study,
    check_folder,
    check_machine,
    check_registry,
    gpus_of,
    make_bases,
    prepare_folder,
)
from experiments.simulate import simulate
from experiments.sweeps import studies_of, sweeps
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.words import exit_code, key_value, several
from jfhpo.study.executors import gpus
from jfhpo.study.methods import method
from jfhpo.study.records import RECORDS, SUMMARY

HELP = """Run what is missing of an experiment, then write its tables, figures and report.

usage: ./run_all.sh [scale] [key=value ...]        (python -m experiments.launch ...)

  ./run_all.sh                                     scale mini: about ten minutes on 2 cores
  ./run_all.sh smoke                               everything, tiny
  ./run_all.sh full                                the benchmark: every method, hours (a scale may name its experiment)
  ./run_all.sh replay                              every method on recorded learning curves, 100 seeds, minutes
  ./run_all.sh smoke experiment=main method=jfhpo  just that
  ./run_all.sh mini method=jfhpo seed=7            one more seed of one method
  ./run_all.sh replay method=[jfhpo,tpe] seed=0..19   some of each
  ./run_all.sh mini out=elsewhere budget=300       other settings go into another folder
  ./run_all.sh paper --dry-run                     what it would launch, may spend and needs; nothing is written

method=, seed= and problem= (one, [a,b] or 0..9) choose among what the experiment runs; every other key=value goes to
each study (`python -m experiments.run --help` lists them). jobs=N sets how many run at once (default: one per core).
"""
DEFAULT_SCALE = "mini"
DRY_RUN = "--dry-run"
SHORT = 60.0
"""Seconds of waiting that need no announcement."""
BASE_SECONDS = 150.0
"""What the largest base took beside another on two shared cores; when the skill appears differs from base to base."""


@dataclass
class Job:
    """One study to be run in a process of its own."""

    words: list[str]
    config: DictConfig
    folder: Path
    process: subprocess.Popen | None = None
    log: Path | None = None
    read: int = 0
    """Bytes of the records already shown."""
    spent: float = 0.0
    planned: int | None = None
    """Trials it will run, where that is known: progress is then their share of the bar."""
    told: int = 0
    note: str = "waiting"
    task: Any = field(default=None)
    simulated: bool = False
    gpus: int = 0
    """Of this machine, to itself: its workers', where there are so many; 0: it sees all of them."""
    slot: int = 0
    """Which of the processes at once it is."""

    @property
    def title(self) -> str:
        return f"{self.config.problem.name} {label_of(self.config)} seed {self.config.seed}"

    @property
    def progress(self) -> float:
        """In the budget's unit: what it spent, or the share of its planned trials that ended."""
        return self.config.budget * self.told / self.planned if self.planned else self.spent

    @property
    def done(self) -> bool:
        return (self.folder / SUMMARY).exists()

    def open_log(self) -> Path:
        """Where its output goes; the folder is there."""
        self.log = self.folder.parents[2] / "logs" / f"{'-'.join(self.folder.parts[-3:])}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return self.log

    def look(self) -> None:
        """Read what was recorded since the last look."""
        path = self.folder / RECORDS
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self.read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.read += len(line)
                event = json.loads(line)
                if event["event"] == "study":
                    self.planned = event.get("planned")
                elif event["event"] == "told":
                    self.told += 1
                elif event["event"] == "step":
                    self.spent = event["spent"][self.config.budget_unit]
                    record = event["record"]
                    self.note = f"trial {event['trial']}, step {record['step']}, reward {record['reward_mean']:.2f}"
                elif event["event"] == "recommended":
                    self.note = "final run on the target"
                elif event["event"] == "evaluated":
                    self.note = f"test {event['evaluation']['mean_at_k']:.1%}"


@dataclass(frozen=True)
class Plan:
    experiment: str
    jobs: list[Job]
    at_once: int
    left_out: tuple[str, ...] = ()
    """Which methods cannot run on which problem, and why."""


def plan(words: Sequence[str]) -> Plan:
    """The studies that the words ask for, each checked, and how many run at once."""
    scale = DEFAULT_SCALE
    if words and "=" not in words[0]:
        scale, words = words[0], words[1:]
    given = [(word, *key_value(word, "method=jfhpo")) for word in words]
    own_keys = ("scale", "method", "seed", "problem", "jobs")
    chosen = {key: value for _, key, value in given if key in own_keys}
    rest = [word for word, key, _ in given if key not in own_keys]
    at_once = _positive("jobs", chosen.get("jobs", str(os.cpu_count() or 1)))
    scale = chosen.get("scale", scale)
    if scale not in groups()["scale"]:
        raise unknown("scale", scale, groups()["scale"])
    experiment = next((w.split("=", 1)[1] for w in rest if w.startswith("experiment=")), "")
    experiment = experiment or load([f"scale={scale}"]).experiment  # a scale may be made for one
    found = sweeps(experiment)
    if scale not in found:
        raise unknown(f"scale of experiment {experiment}", scale, found)
    sweep = found[scale]
    if studies_of(experiment) != experiment:
        rest = [w for w in rest if not w.startswith("experiment=")] + [f"experiment={studies_of(experiment)}"]
    if "method" not in chosen and (of_one := [word for word in rest if word.startswith("method.")]):
        raise UsageError(f"{of_one[0]} is a setting of one method; add method=, one of {', '.join(sweep.methods)}")
    of_problems, of_methods, seeds = (
        _chosen(key, chosen, every)
        for key, every in (("problem", sweep.problems), ("method", sweep.methods), ("seed", sweep.seeds))
    )
    jobs, left_out = [], []
    for problem in of_problems:
        first: dict[str, tuple[list[str], DictConfig]] = {}
        for label in of_methods:
            words = [f"scale={scale}", *sweep.problem_words(problem), *sweep.words(label), *rest]
            config = load([*words, f"seed={seeds[0]}"])
            reason = None if "method" in chosen else method(config.method.name).unsupported(build_problem(config)[0])
            if reason is None:
                first[label] = words, config
            else:
                left_out.append(f"{label} cannot run on problem={problem}: {reason}")
        for seed in seeds:
            for words, config in first.values():
                own = config.copy()
                if seed != seeds[0]:
                    # The rest is the same, and composing it takes a tenth of a second.
                    own.seed = int(seed) if str(seed).isdigit() else load([*words, f"seed={seed}"]).seed
                jobs.append(Job([*words, f"seed={seed}"], own, study_folder(own)))
    return Plan(experiment, jobs, at_once, tuple(left_out))


def _chosen(key: str, chosen: Mapping[str, str], every: Sequence[Any]) -> Sequence[Any]:
    if key not in chosen:
        return every
    if not (found := several(chosen[key])):
        raise UsageError(f"{key}={chosen[key]} names none; for example {key}={every[0]}")
    return found


def check(jobs: Sequence[Job]) -> None:
    """Refuse what cannot run before anything is written; what a study's parts say of it is noted down."""
    built: dict[Path, Parts] = {}
    for job in jobs:
        check_folder(job.config)
        row = job.folder.parent  # its seeds differ in nothing else
        parts = built[row] = built.get(row) or build_study(job.config)
        job.planned, job.simulated = parts.settings.planned(parts.optimizer.planned), parts.trainer.simulated
        job.gpus = parts.trainer.gpus_each * parts.settings.workers


def announcement(missing: Sequence[Job], of: int, at_once: int, bases: int) -> str:
    """What is about to happen and how long it may take, in a sentence or three; empty where it is over in a minute.

    A study ends with its budget, so budgets, shared among `at_once` processes, bound the wait: the test evaluations
    and a busy machine come on top. Studies that plan their trials are not bounded so: theirs is a round number far
    above what they need.
    """
    for job in missing:
        job.look()
    seconds = [job.config.budget - job.spent for job in missing if job.config.budget_unit == "seconds"]
    bounded = len(seconds) == len(missing) and not any(job.planned for job in missing)
    making = BASE_SECONDS * math.ceil(bases / 2)
    if bounded and _span(seconds, at_once) + making <= SHORT:
        return ""
    said = [f"{len(missing)} of {of} studies are missing"]
    if bounded:
        said[0] += f": at most {duration(_span(seconds, at_once))} of trainer time, {at_once} at once"
    if bases:
        said.append(f"Before that {bases} base models are made, about {duration(making)}")
    return ". ".join([*said, "Stop it when you like: the same command continues."])


def _span(seconds: Sequence[float], at_once: int) -> float:
    """How long jobs of these lengths take, each begun by the first of the processes to be free."""
    free = [0.0] * at_once
    for length in seconds:
        heapq.heapreplace(free, free[0] + max(length, 0.0))
    return max(free)


def duration(seconds: float) -> str:
    """``45 s``, ``8 min`` or ``6 h 40 min``, rounded up."""
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _positive(name: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise UsageError(f"{name}={value} must be a whole number from 1 on")
    return int(value)


def run_simulated(jobs: list[Job], at_once: int, console: Console) -> list[Job]:
    """Run studies on simulated trainers; returns those that failed, each with a log."""
    failed = []

    def ended(number: int, why: str | None) -> None:
        if why is not None:
            failed.append(jobs[number])
            jobs[number].open_log().write_text(why)

    if jobs:
        simulate([job.config for job in jobs], at_once, console, ended)
    return failed


def run_jobs(jobs: list[Job], at_once: int, console: Console) -> list[Job]:
    """Run the jobs, longest first, each in its own process with a log; returns those that failed."""
    if not jobs:
        return []
    waiting, running, failed = list(jobs), [], []
    view = progress_view(console)
    budgets = sum(job.config.budget for job in jobs)
    here = gpus.visible() if any(job.gpus for job in jobs) else []
    overall = view.add_task(f"{len(jobs)} studies", total=budgets, note="")
    for job in jobs:
        job.task = view.add_task(job.title, total=job.config.budget, note=job.note, start=False)
    with view:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    job.slot = min(set(range(at_once)) - {other.slot for other in running})
                    running.append(_launch(job, gpus.of_worker(job.slot, job.gpus, here)))
                    view.start_task(running[-1].task)
                time.sleep(0.5)
                for job in list(running):
                    job.look()
                    if job.process.poll() is not None:
                        running.remove(job)
                        if job.process.returncode != 0:
                            job.note = f"failed, see {job.log}"
                            failed.append(job)
                        if not console.is_terminal:  # no live view in a log: one line a study
                            console.print(f"{job.title}: {job.note}")
                        job.spent, job.planned = job.config.budget, None  # a recipe spends less than it may: a full bar
                    view.update(job.task, completed=job.progress, note=job.note)
                view.update(overall, completed=sum(min(job.progress, job.config.budget) for job in jobs))
        finally:
            for job in running:
                job.process.terminate()
    return failed


def _launch(job: Job, environment: Mapping[str, str]) -> Job:
    command = [sys.executable, "-m", "experiments.run", *job.words]
    with job.open_log().open("w") as log:
        job.process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=os.environ | environment
        )
    return job


Quoted = Callable[[], Sequence[str]]
"""Lines that a paper's own numbers make, to stand beside the estimates of a dry run: as `Present`, from above."""
Present = Callable[[Path, str, Console], None]
"""Writes and shows the tables of a results folder and experiment: a room above this one, so it is handed in."""


def dry_run(words: Sequence[str], console: Console, quoted: Sequence[str]) -> int:
    """Say what `launch` would do; write and launch nothing."""
    found = plan(words)
    for job in found.jobs:
        check_folder(job.config)
    studies = [planned(shell(["python", "-m", "experiments.run", *job.words]), job.config) for job in found.jobs]
    bases = {spec for job in found.jobs for spec in bases_of(job.config) if not spec.made}
    notes = [f"base models to be made first: {len(bases)}"] if bases else []
    show_plan(" ".join(["./run_all.sh", *words]), studies, console, quoted, [*notes, *found.left_out])
    return 0


def launch(words: Sequence[str], console: Console, present: Present) -> int:
    found = plan(words)
    jobs = found.jobs
    for line in found.left_out:
        console.print(line, markup=False, highlight=False)
    for job in jobs:
        if not job.done:
            check_machine(job.config)
    if any(gpus_of(job.config) for job in jobs):
        found = replace(found, at_once=1)  # a study takes all the GPUs that it asks for
    check(jobs)
    check_registry(jobs[0].config)  # one registry for all
    for job in jobs:
        prepare_folder(job.config)
    missing = sorted((job for job in jobs if not job.done), key=lambda job: job.config.method.name == "recipe")
    if len(missing) < len(jobs):
        console.print(f"{len(jobs) - len(missing)} of {len(jobs)} studies are there already")
    bases = {spec for job in jobs for spec in bases_of(job.config) if not spec.made}
    live = [job for job in missing if not job.simulated]
    if live and (said := announcement(live, len(jobs), found.at_once, len(bases))):
        console.print(said, markup=False, highlight=False)
    began = time.monotonic()
    make_bases([job.config for job in jobs], console)
    bases_made = time.monotonic()
    failed = run_simulated([job for job in missing if job.simulated], found.at_once, console)
    failed += run_jobs([job for job in missing if not job.simulated], found.at_once, console)
    for job in failed:
        console.print(f"[bold]{' '.join(job.words)} failed:[/bold]")
        console.print("\n".join(job.log.read_text().splitlines()[-8:]), markup=False, highlight=False)
    spans = f"base models {bases_made - began:.0f} s, studies {time.monotonic() - bases_made:.0f} s"
    console.print(f"{spans}; writing tables and report")
    present(Path(jobs[0].config.out), found.experiment, console)
    return 1 if failed else 0


def say_where(out: Path, experiment: str, console: Console) -> None:
    """What to do for tables when nobody presents them."""
    console.print(f"tables and report: python -m paper_figures out={out} experiment={experiment}", highlight=False)


def main(words: Sequence[str], present: Present = say_where, quoted: Quoted = list) -> int:
    console = Console()
    if any(w in ("-h", "--help") for w in words):
        console.print(HELP, markup=False, highlight=False)
        return 0
    if DRY_RUN in words:
        rest = [word for word in words if word != DRY_RUN]
        return exit_code(lambda: dry_run(rest, console, quoted()))
    return exit_code(lambda: launch(words, console, present))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
