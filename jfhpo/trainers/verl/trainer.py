"""`VerlTrainer`: verl's GRPO, one trial at a time, a child process per segment, driven step by step.

A segment is a run of verl from the base model or a checkpoint; it waits at its gate after every step, so that records,
checkpoints, evaluations and the end fall on exactly the step where the study wants them. A study that goes on with the
very checkpoint that the child has just written (the test of a finished trial, say) finds the child still there.

**Costs** are seconds on a GPU or a given cluster, and on a CPU the CPU seconds of all processes of the run; start-up,
loading and saving are overhead. **Repetition** goes as far as verl's: prompts come in the same order and every seed is
the trial's, but sampling by vLLM is not bit-reproducible. A resumed run samples from seeds of its own, or it would draw
the randomness of the first steps again.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import socket
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.trainer import CheckpointError, Evaluation, Trainer, TrainingFailed
from jfhpo.core.trial import Cost, StepRecord, Trial
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets import to_verl
from jfhpo.trainers.hf import checkpoints
from jfhpo.trainers.hf.report import Overhead, accuracy, step_flops
from jfhpo.trainers.hf.shape import model_path
from jfhpo.trainers.verl import data, models, wide_heads
from jfhpo.trainers.verl.compose import compose, installed
from jfhpo.trainers.verl.data import own_function, prompts_of
from jfhpo.trainers.verl.ranges import BATCH, EPOCHS, LR, N
from jfhpo.trainers.verl.segment import MAIN, Segment
from jfhpo.trainers.verl.settings import VerlSettings
from jfhpo.trainers.verl.words import AGENT_LOOPS, Place, environment_of, segment_words, shape

VALIDATION_K = 1
"""Samples per validation prompt."""
WHOLE = ("data.pt", "actor/model_*", "actor/optim_*", "actor/extra_state_*")
"""What a checkpoint of verl's must hold to be gone on from."""
LATEST = "latest_checkpointed_iteration.txt"
"""verl's note of where to resume by itself; here it is told."""


class VerlTrainer(Trainer):
    """`models` maps a size to a Hugging Face folder or hub name; `data` holds the arguments of
    `jfhpo.tasks.datasets.load` for data sets that are not generated. `main` is the command that the words of a run
    follow."""

    def __init__(
        self,
        task: str,
        models: Mapping[str, str],
        max_steps: int,
        settings: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        main: tuple[str, ...] = MAIN,
    ):
        self.models, self.max_steps, self.main = dict(models), max_steps, main
        self.settings = VerlSettings.of(settings or {})
        self.prompts = prompts_of(task, data or {})
        self.reward = own_function(task, data or {})
        self.completion_length = self.settings.max_completion_length or TASKS[task].completion_length
        self.folder: Path | None = None
        self.segment: Segment | None = None
        self.segments = 0
        self._ended_segments = 0.0
        self._overhead = Overhead()

    # -- the protocol

    def start(self, trial: Trial, checkpoint: Path | None = None) -> Iterator[StepRecord]:
        with self._overhead.timed(self._now):
            held = checkpoints.read(checkpoint, trial) if checkpoint is not None else {}
            if not self._stands_at(trial, held):
                self._leave()
                self._launch(trial, checkpoint, held)
        self.trial, self.step = trial, int(held.get("step", 0))
        return self._steps()

    def save(self, path: Path) -> None:
        with self._overhead.timed(self._now):
            path.mkdir()
            written = self.segment.save(path.absolute())
            if missing := missing_parts(written):
                raise TrainingFailed(f"verl's checkpoint of step {self.step} has no {missing}")
            (path / LATEST).unlink(missing_ok=True)
            checkpoints.seal(
                path, self.trial, step=self.step, learning_rate=self.learning_rate, segment=self.segment.name
            )

    def evaluate(self, split: str, k: int, seed: int = 0, greedy: bool = True) -> Evaluation:
        """As the protocol says, but for `seed`: vLLM's stream goes on from the training's, so that the draws are
        fresh ones whichever it is."""
        began = self._now()
        right, tokens = self.segment.evaluate(self.files[split], k, greedy=False)
        best = None
        if greedy:
            first, drawn = self.segment.evaluate(self.files[split], 1, greedy=True)
            best, tokens = [answer for (answer,) in first], tokens + drawn
        return accuracy(split, right, best, Cost(self._now() - began, tokens, 2.0 * self.weights * tokens))

    def overhead(self) -> Cost:
        return self._overhead.told()

    def close(self) -> None:
        """End the child, if there is one, and remove what was written; also done once nobody holds the trainer. A
        worker that is killed needs none of this: `jfhpo.trainers.verl.guard` sees to it."""
        self._leave()
        if self.folder is not None:
            self._remove()
            self.folder = None

    # -- one segment

    def _stands_at(self, trial: Trial, held: Mapping[str, Any]) -> bool:
        """Whether the child waits at the very step that this checkpoint is of, having written it itself."""
        if self.segment is None or not self.segment.waits() or "segment" not in held:
            return False
        return (
            held["segment"] == self.segment.name
            and int(held["step"]) == self.segment.step
            and checkpoints.identity(trial) == checkpoints.identity(self.trial)
        )

    def _launch(self, trial: Trial, checkpoint: Path | None, held: Mapping[str, Any]) -> None:
        settings, step = self.settings, int(held.get("step", 0))
        kept = None if checkpoint is None else checkpoint.absolute() / f"global_step_{step}"
        if kept is not None and (missing := missing_parts(kept)):
            raise CheckpointError(f"checkpoint {checkpoint} has no {missing}")
        if self.folder is None:
            self._prepare()
        model = models.read(model_path(self.models, trial.fidelity.model))
        self.weights, on_cpu = model.weights, models.on_cpu(settings.device)
        decided = shape(trial.config, settings)
        self.responses, self.epochs = decided[BATCH] * decided[N], decided[EPOCHS]
        warms_up = any("warmup" in word for word in (*settings.overrides, *trial.config))
        self.learning_rate = held.get("learning_rate", math.nan if warms_up else decided.get(LR, math.nan))
        # verl's task runner may be on any machine of a given cluster.
        host = "127.0.0.1" if settings.ray_address is None else socket.gethostbyname(socket.gethostname())
        self.segments += 1
        logs = Path(settings.logs) if settings.logs else None
        self.segment = Segment(self.folder / str(self.segments), settings.timeout, logs, host)
        self._end = weakref.finalize(self, self.segment.close)
        place = Place(
            folder=self.segment.folder,
            model=self._runnable(trial.fidelity.model, model.path),
            train=data.in_order(self.prompts, self.max_steps, decided[BATCH], trial.seed, self.segment.folder / "data"),
            validation=self.files["validation"],
            prompt_length=data.prompt_length(self.prompts, model.tokenizer, settings.max_prompt_length),
            completion_length=self.completion_length,
            max_steps=self.max_steps,
            on_cpu=on_cpu,
            reward=self.reward,
            seed=(trial.seed + 1_000_003 * step) % 2**31,
            checkpoint=kept,
        )
        (self.segment.folder / "agent_loops.yaml").write_text(AGENT_LOOPS)
        words = segment_words(trial.config, settings, place)
        if installed():
            compose(words)
        at = self.segment.launch(words, environment_of(settings, on_cpu), self.main)
        if at != step:
            raise TrainingFailed(f"verl started from step {at}, the checkpoint is of step {step}")

    def _prepare(self) -> None:
        """The folder of all segments, which the guards of these remove where nobody else is left to, and the held-out
        prompts in it."""
        # Ray's sockets lie below, and a socket's path may have 107 bytes: not where TMPDIR says.
        self.folder = Path(tempfile.mkdtemp(prefix="jfhpo-verl-", dir="/tmp"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        most = self.settings.held_out_prompts
        held_out = {split: rows[:most] for split, rows in self.prompts.splits.items() if split != "train"}
        self.files = to_verl(dataclasses.replace(self.prompts, splits=held_out), self.folder / "data")

    def _runnable(self, size: str, path: str) -> str:
        """The model's folder, or where vLLM has no kernel for its heads, one with the same model and wider heads."""
        if not Path(path).is_dir() or not wide_heads.needed(Path(path)):
            return path
        out = self.folder / "models" / size
        if not out.exists():
            wide_heads.widen(Path(path), out)
        return str(out)

    def _steps(self) -> Iterator[StepRecord]:
        trial = self.trial
        while self.step < trial.fidelity.steps:
            began = self._now()
            try:
                logged = self.segment.next()
            except TrainingFailed:
                self._overhead.cost += Cost(seconds=self._now() - began)
                raise
            self.step = self.segment.step
            tokens = round(logged["response_length/mean"] * self.responses)
            read = tokens + round(logged["prompt_length/mean"] * self.responses)
            cost = Cost(self._now() - began, tokens, step_flops(self.weights, read, self.epochs))
            self._overhead.check_finite(logged, ("actor/loss", "actor/grad_norm"), self.step, cost)
            score = None
            if self.step == trial.fidelity.steps or self.step in trial.validate_at:
                validation = self.evaluate("validation", VALIDATION_K, greedy=False)
                score, cost = validation.mean_at_k, cost + validation.cost
            # verl logs the rate that the schedule has moved on to: the next step's.
            rate, self.learning_rate = self.learning_rate, logged["actor/lr"]
            yield StepRecord(
                step=self.step,
                reward_mean=logged["critic/score/mean"],
                kl=logged["actor/kl_loss"],
                entropy=logged["actor/entropy"],
                grad_norm=logged["actor/grad_norm"],
                clip_fraction=logged["actor/pg_clipfrac"],
                completion_length=logged["response_length/mean"],
                learning_rate=rate,
                loss=logged["actor/loss"],
                cost=cost,
                val_accuracy=score,
            )

    def _now(self) -> float:
        """CPU seconds of this process and of all segments, or where a GPU or a cluster does the work, seconds."""
        if self.settings.ray_address is not None or not models.on_cpu(self.settings.device):
            return time.perf_counter()
        running = self.segment.cpu_seconds() if self.segment is not None else 0.0
        return time.process_time() + self._ended_segments + running

    def _leave(self) -> None:
        """Leave the training where it is, and nothing of it behind."""
        if self.segment is not None:
            segment, self.segment = self.segment, None
            self._end()
            self._ended_segments += segment.cpu_seconds()


def missing_parts(folder: Path) -> str:
    """What a ``global_step_<N>`` folder lacks of `WHOLE`; empty where it is whole."""
    return ", ".join(part for part in WHOLE if not any(folder.glob(part)))
