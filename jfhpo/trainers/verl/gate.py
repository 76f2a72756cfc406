"""The gate: verl's loop waits after every step until the study has said what comes next.

verl makes `Gate` first of all in its task runner (``trainer.checkpoint_callback_class=jfhpo.trainers.verl.gate.Gate``).
The callback itself hears of checkpoints only, so it puts itself where verl reports a step: behind the logger, once a
step's metrics are written and nothing of the next has begun. There the model, the optimizer, the schedule and the order
of data are those of the step, vLLM has its weights, and the study may have a checkpoint, an evaluation, another step,
or the end, at any step and without another start of an engine.

Orders come from `jfhpo.trainers.verl.segment` over a socket, one JSON object a line, and each is answered by one:

    → {"order": "go"}                                             ← {"done": 7}
    → {"order": "save", "folder": …}                              ← {"saved": "<folder>/global_step_7"}
    → {"order": "evaluate", "file": …, "k": 1, "greedy": false}   ← {"right": [[1.0], …], "tokens": 512}
    → {"order": "stop"}                                           verl ends its loop by itself and exits with 0

Where the other side is gone, the answer is to stop.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
from verl.trainer.ppo.checkpoint_callback import CheckpointCallback

POLL = 0.05
"""Seconds between verl's looks at whether a batch is sampled. Its own 2.0 would be most of a step of a small model."""


class Gate(CheckpointCallback):
    """``config.trainer.jfhpo.gate`` is the file with address and key of the study's side; ``grpovi`` beside it says
    whether our advantage estimator is wanted."""

    def __init__(self, config: Any):
        super().__init__(config)
        from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

        if config.trainer.jfhpo.grpovi:
            from jfhpo.trainers.verl.grpovi import register

            register()
        self.orders = Orders(Path(config.trainer.jfhpo.gate))
        self.saved = ""
        self.datasets: dict[str, Any] = {}
        PPOTrainerSync.on_train_begin = lambda trainer: self.open(trainer)

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, **unused: Any) -> None:
        self.saved = checkpoint_dir

    def open(self, trainer: Any) -> None:
        """verl's hook before its loop: say which step it starts from, and stand behind its logger."""
        trainer.replay_buffer.poll_interval = POLL
        trainer.logger = Reporting(trainer.logger, lambda: self.wait(trainer, trainer.global_steps))
        self.wait(trainer, trainer.global_steps - 1)  # verl counts the step to come

    def wait(self, trainer: Any, done: int) -> None:
        """Carry out orders at this step until there is to be another, or the end."""
        self.orders.answer(done=done)
        stale = False
        while True:
            order = self.orders.next()
            what = order["order"]
            if what == "save":
                self._save(trainer, done, order["folder"])
                stale = True
                self.orders.answer(saved=self.saved)
                continue
            if what == "stop":
                trainer.total_training_steps = done  # the condition of verl's loop
                return
            if stale:
                trainer.checkpoint_manager.update_weights(done)
                stale = False
            if what == "go":
                return
            self.orders.answer(**self._evaluate(trainer, order["file"], order["k"], order["greedy"]))

    def _save(self, trainer: Any, done: int, folder: str) -> None:
        # As where verl saves by itself: with vLLM asleep, which leaves the memory to the optimizer's state.
        trainer.checkpoint_manager.sleep_replicas()
        step, trainer.global_steps = trainer.global_steps, done
        trainer.config.trainer.default_local_dir = folder  # where nothing else writes
        try:
            trainer._save_checkpoint()
        finally:
            trainer.global_steps = step

    def _evaluate(self, trainer: Any, file: str, k: int, greedy: bool) -> dict[str, Any]:
        """verl's own validation on the prompts of a parquet file, k responses to each.

        Returns:
            ``right``: per prompt the k values of the reward's ``acc``; ``tokens``: how many were sampled.
        """
        found: dict[str, Any] = {"right": {}, "tokens": 0}

        def metrics(sources: Any, uids: list[str], infos: dict[str, list[Any]], *_: Any, **unused: Any) -> dict:
            for uid, right in zip(uids, infos["acc"], strict=True):
                found["right"].setdefault(uid, []).append(float(right))
            return {}

        def sample(*arguments: Any, **named: Any) -> Any:
            batch, other = sample_of_verl(*arguments, **named)
            found["tokens"] += sum(tag["response_len"] for tag in batch.tags)
            return batch, other

        sample_of_verl, loader = trainer.replay_buffer.sample, trainer.val_dataloader
        trainer.val_dataloader = [self._batch(trainer, file, k, greedy)]
        trainer._val_metrics_update, trainer.replay_buffer.sample = metrics, sample
        try:
            trainer._validate()
        finally:
            del trainer._val_metrics_update, trainer.replay_buffer.sample
            trainer.val_dataloader = loader
        short = [uid for uid, right in found["right"].items() if len(right) != k]
        prompts = len(self.datasets[file])
        if short or len(found["right"]) != prompts:
            missing = prompts - len(found["right"]) + len(short)
            raise RuntimeError(f"{missing} of {prompts} prompts of {file} were not answered {k} times")
        return {"right": list(found["right"].values()), "tokens": found["tokens"]}

    def _batch(self, trainer: Any, file: str, k: int, greedy: bool) -> dict[str, Any]:
        from verl.trainer.ppo.utils import create_rl_dataset
        from verl.utils.dataset.rl_dataset import collate_fn

        if file not in self.datasets:
            self.datasets[file] = create_rl_dataset(
                file, trainer.config.data, trainer.tokenizer, trainer.processor, is_train=False
            )
        rows = self.datasets[file]
        batch = collate_fn([rows[i] for i in range(len(rows))])
        batch["__rollout_n__"] = np.array([k] * len(rows), dtype=object)  # verl's key for a prompt's own n
        if greedy:
            batch["agent_name"] = np.array(["jfhpo_greedy"] * len(rows), dtype=object)
        return batch


class Reporting:
    """verl's logger, and after each step that it has written, a call."""

    def __init__(self, logger: Any, then: Any):
        self.logger, self.then = logger, then

    def log(self, data: dict[str, Any], step: int) -> None:
        self.logger.log(data=data, step=step)
        self.then()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.logger, name)


class Orders:
    """The child's end of the socket."""

    def __init__(self, file: Path):
        address = json.loads(file.read_text())
        connection = socket.create_connection((address["host"], address["port"]))
        self.lines, self.connection = connection.makefile("r", encoding="utf-8"), connection
        self.answer(key=address["key"])

    def answer(self, **fields: Any) -> None:
        try:
            self.connection.sendall(json.dumps(fields).encode() + b"\n")
        except OSError:  # the study is gone: `next` says stop
            return

    def next(self) -> dict[str, Any]:
        try:
            line = self.lines.readline()
        except OSError:
            line = ""
        return json.loads(line) if line else {"order": "stop"}
