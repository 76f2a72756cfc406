"""Record learning curves to be replayed: a Sobol design trained in full on every size, one line of JSON per run.

``python -m experiments.record problem=last_digit models=[p,m3,l] configs=128``; the same command again goes on, and
more configurations or seeds may be asked for later: what is recorded stays. `jfhpo.replay` makes the data set.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: runs share a machine, one core each

import numpy as np
from rich.console import Console

import jfhpo
from experiments.config import build_problem, load, plain
from experiments.replay.runs import Plan, Run, grid, record_pack, record_run
from experiments.run import make_bases, visible_gpus
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.trainer import PackedTrainer, Trainer
from jfhpo.core.words import exit_code, key_value, several
from jfhpo.study.executors.choice import DEVICES
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.study.executors.worker import make_trainer
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
jobs=        processes (default: one per core, two at most; one where runs are packed)
packed=      runs of one size trained at once in one program (default: 64 where there is a GPU, else 0: one by one)
device=      where packed runs are trained: cpu, cuda, or auto (default), a GPU where there is one
out=         folder (default recordings); <out>/<problem>/records.jsonl
problem.<key>=  as for experiments.run

Killed, it goes on at the same command: at most the runs under way are lost. Seconds of packed runs are shares of what
their pack took, so a recording is packed on one kind of device, or one by one, from beginning to end.
"""
_trainers: dict[str, Trainer | PackedTrainer] = {}
"""Of a worker process, by problem: made once."""


def _work(plan: Plan, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The lines of runs that are trained at once, or of the only one."""
    problem, spec = plan.problem, plan.trainer
    if problem.name not in _trainers:
        placed = {"device": plan.device} if plan.packed else {}
        _trainers[problem.name] = make_trainer(spec.packed if plan.packed else spec.path, spec.arguments | placed)
    trainer = _trainers[problem.name]
    if plan.packed:
        return record_pack(trainer, runs, problem, plan.validate_at, plan.test_k)
    return [record_run(trainer, run, problem, plan.validate_at, plan.test_k) for run in runs]


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


def packs(runs: Sequence[tuple[Plan, Run]]) -> Iterator[tuple[Plan, list[Run]]]:
    """Runs that are trained at once: the next one, and with it the next others of its problem and size."""
    left: dict[tuple[str, str], deque[Run]] = {}
    for plan, run in runs:
        left.setdefault((plan.problem.name, run.model), deque()).append(run)
    for plan, run in runs:
        same = left[plan.problem.name, run.model]
        if same and same[0] is run:  # else it is in a pack before
            yield plan, [same.popleft() for _ in range(min(max(plan.packed, 1), len(same)))]


def record(plans: Sequence[tuple[Plan, dict[str, Any]]], out: Path, jobs: int, console: Console) -> int:
    """Make every run that is missing; returns how many were."""
    with ExitStack() as stack:
        recorders = {plan.problem.name: stack.enter_context(closing(opened(plan, conf, out))) for plan, conf in plans}
        done = {plan.problem.name: _recorded(out / plan.problem.name) for plan, _ in plans}
        turns = zip(*(plan.runs() for plan, _ in plans), strict=True)
        every = [(plan, run) for turn in turns for (plan, _), runs in zip(plans, turn, strict=True) for run in runs]
        missing = [(plan, run) for plan, run in every if run.name not in done[plan.problem.name]]
        console.print(f"{len(every) - len(missing)} of {len(every)} runs are recorded in {out}; {len(missing)} to go")
        if not missing:
            return 0
        clock, waiting, ended = Clock(missing, jobs), deque(packs(missing)), 0
        busy: dict[Future, tuple[Plan, list[Run], float]] = {}
        # Spawned, not forked: torch has threads by now.
        pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
        stack.callback(pool.shutdown, cancel_futures=True)
        while waiting or busy:
            while waiting and len(busy) < jobs:
                plan, runs = waiting.popleft()
                busy[pool.submit(_work, plan, runs)] = plan, runs, time.monotonic()
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                plan, runs, began = busy.pop(future)
                took = (time.monotonic() - began) / len(runs)
                for run, line in zip(runs, future.result(), strict=True):
                    recorders[plan.problem.name].write("run", **vars(run), took=round(took, 2), **line)
                    clock.ended(plan, run, took)
                    ended += 1
                    console.print(
                        f"{ended}/{len(missing)} {plan.problem.name} {run.configuration} {run.model} {run.transfer} "
                        f"seed {run.seed}: {_outcome(line)}, {took:.1f} s; left {clock.seconds_left() / 60:.0f} min",
                        highlight=False,
                    )
        return len(missing)


def _outcome(line: dict[str, Any]) -> str:
    return f"validation {line['validations'][-1]['accuracy']:.3f}" if line["status"] == "completed" else line["reason"]


def opened(plan: Plan, conf: dict[str, Any], out: Path) -> Recorder:
    """A problem's recording, its header written or compared."""
    folder = out / plan.problem.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"out={out} cannot be written ({error.strerror}); choose another") from error
    wanted = plan.header(conf)
    recorder = Recorder(folder)
    events = read_records(folder)
    if not events:
        recorder.write("recording", **wanted, **_made(plan))
    elif different := [key for key, value in wanted.items() if events[0].get(key) != value]:
        recorder.close()
        key = different[0]
        raise UsageError(
            f"{folder} holds another recording: {key}={events[0].get(key)} there, {wanted[key]} here; choose "
            "another out= or delete the folder"
        )
    return recorder


def _made(plan: Plan) -> dict[str, Any]:
    """How and where: to be read, not compared."""
    import torch

    sizes = [vars(size) for size in plan.problem.family]
    versions = {"jfhpo": jfhpo.__version__, "torch": torch.__version__, "numpy": np.__version__}
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    where = machine()
    if plan.packed and plan.device == "cuda":
        where = f"{torch.cuda.get_device_name()}; {where}"
    return {"family": sizes, "versions": versions, "machine": where, "began": began}


def _recorded(folder: Path) -> set[tuple[int, str, str, int]]:
    names = ("configuration", "model", "transfer", "seed")
    return {tuple(e[name] for name in names) for e in read_records(folder) if e["event"] == "run"}


# ---- command line ------------------------------------------------------------------------------------------

COUNTS = {"configs": 128, "seeds": 1, "repeated": 0, "every": 5, "test_k": 4, "jobs": 0, "packed": -1}
"""With their defaults; 0 jobs and -1 packed are for the machine to decide."""
MAY_BE_ZERO = ("repeated", "packed")
LISTS = ("problem", "models", "mapped")
PACKED_ON_A_GPU = 64


def plans_of(words: Sequence[str]) -> tuple[list[tuple[Plan, Any]], Path, int]:
    """What is to be recorded, where, and how many runs at once; `UsageError` in one line for anything wrong."""
    counts, lists, out, device, rest = dict(COUNTS), dict.fromkeys(LISTS, ()), "recordings", "auto", []
    for word in words:
        key, value = key_value(word, "problem=last_digit")
        if key in COUNTS:
            if not value.isdigit() or (int(value) < 1 and key not in MAY_BE_ZERO):
                raise UsageError(f"{key}={value} must be a whole number from 1 on")
            counts[key] = int(value)
        elif key in LISTS:
            lists[key] = tuple(several(value))
        elif key == "out":
            out = value
        elif key == "device":
            device = value
        elif key.startswith("problem."):
            rest.append(word)
        else:
            raise unknown("setting", key, [*COUNTS, *LISTS, "out", "device", "problem.<key>"])
    if not lists["problem"]:
        raise UsageError("problem= is missing; for example problem=last_digit")
    plans = [_plan(name, rest, counts, lists, device) for name in lists["problem"]]
    packed = any(plan.packed for plan, _ in plans)
    return plans, Path(out), counts["jobs"] or (1 if packed else min(2, os.cpu_count() or 1))


def packing(wanted: int, device: str, spec: TrainerSpec, gpu: bool) -> tuple[int, str]:
    """Runs at once, and where: as it is wanted (-1: as it suits a machine with or without a GPU); `UsageError` for what
    cannot be."""
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device != "auto" and wanted == 0:
        raise UsageError(f"device={device} is for packed runs; packed=0 records one by one, on the CPU")
    if device == "cuda" and not gpu:
        raise UsageError("device=cuda, and this machine has no GPU; device=cpu or device=auto records without one")
    if device == "auto":
        device = "cuda" if gpu else "cpu"
    if wanted < 0:
        wanted = PACKED_ON_A_GPU if spec.packed and device == "cuda" else 0
    if wanted and not spec.packed:
        raise UsageError(f"packed={wanted}: trainer {spec.name} runs one trial at a time; packed=0 records one by one")
    return wanted, device if wanted else "cpu"


def _plan(
    name: str, rest: Sequence[str], counts: dict[str, int], lists: dict[str, Any], device: str
) -> tuple[Plan, Any]:
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
        *packing(counts["packed"], device, trainer, bool(visible_gpus())),
    )  # fmt: skip
    return plan, config


def main(words: Sequence[str]) -> int:
    console = Console(width=None if sys.stdout.isatty() else 200)
    if any(w in ("-h", "--help") for w in words):
        console.print(HELP, markup=False, highlight=False)
        return 0

    def command() -> int:
        plans, out, jobs = plans_of(words)
        make_bases([config for _, config in plans], console)
        record([(plan, plain(config)["problem"]) for plan, config in plans], out, jobs, console)
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
