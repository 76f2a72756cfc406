"""The gate inside verl's loop, over stand-ins for verl's trainer: orders carried out in verl's own order of things."""

from __future__ import annotations

import json
import socket
import sys
import threading
import types

import pytest


class Batch:
    def __init__(self, tags):
        self.tags = tags


class FakeTrainer:
    """What of `PPOTrainerSync` the gate touches; `seen` is what happened, in order."""

    def __init__(self, answers=((1.0,), (0.0,))):
        self.seen, self.answers = [], answers
        self.global_steps, self.total_training_steps = 1, 30
        self.config = types.SimpleNamespace(data="data", trainer=types.SimpleNamespace(default_local_dir="/own"))
        self.tokenizer = self.processor = None
        self.val_dataloader = "verl's own"
        self.logger = types.SimpleNamespace(log=lambda data, step: self.seen.append(("logged", step)), finish="finish")
        self.checkpoint_manager = types.SimpleNamespace(
            sleep_replicas=lambda: self.seen.append("asleep"),
            update_weights=lambda step: self.seen.append(("weights", step)),
        )
        buffer = type("Buffer", (), {"sample": lambda self, **_: (Batch([{"response_len": 5}] * 2), {})})
        self.replay_buffer = buffer()

    def _save_checkpoint(self):
        self.seen.append(("saved", self.global_steps))
        self.gate.on_save(
            self, self.global_steps, f"{self.config.trainer.default_local_dir}/global_step_{self.global_steps}"
        )

    def _val_metrics_update(self, *_, **__):
        raise AssertionError("verl's own metrics, with all their bootstrapping, are not needed")

    def _validate(self):
        (batch,) = self.val_dataloader
        self.seen.append(("validated", batch["__rollout_n__"].tolist(), "agent_name" in batch))
        self.replay_buffer.sample(partition_id="val")
        uids = [f"prompt {i}" for i, answers in enumerate(self.answers) for _ in answers]
        self._val_metrics_update([], uids, {"acc": [a for answers in self.answers for a in answers]}, [])


@pytest.fixture
def verl(monkeypatch):
    """Modules of verl that the gate imports."""

    class CheckpointCallback:
        def __init__(self, config=None):
            self.config = config

    class PPOTrainerSync:
        pass

    rows = [{"prompt": "a"}, {"prompt": "b"}]
    parts = {
        "verl": {}, "verl.trainer": {}, "verl.trainer.ppo": {}, "verl.trainer.ppo.v1": {},
        "verl.trainer.ppo.checkpoint_callback": {"CheckpointCallback": CheckpointCallback},
        "verl.trainer.ppo.v1.trainer_sync": {"PPOTrainerSync": PPOTrainerSync},
        "verl.trainer.ppo.utils": {"create_rl_dataset": lambda *_, **__: rows},
        "verl.utils": {}, "verl.utils.dataset": {},
        "verl.utils.dataset.rl_dataset": {"collate_fn": lambda found: {"raw_prompt": found}},
    }  # fmt: skip
    for name, content in parts.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "jfhpo.trainers.verl.gate", raising=False)
    yield PPOTrainerSync
    sys.modules.pop("jfhpo.trainers.verl.gate", None)


class Study:
    """The other end: says `orders` one after another and keeps the answers."""

    def __init__(self, folder, *orders):
        listener = socket.create_server(("127.0.0.1", 0))
        self.file = folder / "gate.json"
        self.file.write_text(json.dumps({"host": "127.0.0.1", "port": listener.getsockname()[1], "key": "k"}))
        self.answers = []

        def talk():
            connection, _ = listener.accept()
            lines = connection.makefile("r")
            self.answers += [json.loads(lines.readline()), json.loads(lines.readline())]
            for order in orders:
                connection.sendall(json.dumps(order).encode() + b"\n")
                if order["order"] not in ("go", "stop") and (line := lines.readline()):  # none of a run that has ended
                    self.answers.append(json.loads(line))
            connection.close()
            listener.close()

        self.thread = threading.Thread(target=talk, daemon=True)
        self.thread.start()


def opened(verl, study, trainer):
    from jfhpo.trainers.verl.gate import Gate

    own = types.SimpleNamespace(gate=str(study.file), grpovi=False)
    gate = trainer.gate = Gate(types.SimpleNamespace(trainer=types.SimpleNamespace(jfhpo=own)))
    verl.on_train_begin(trainer)
    study.thread.join(10)
    return gate


SAVE = {"order": "save", "folder": "/checkpoints"}
EVALUATE = {"order": "evaluate", "file": "v.parquet", "k": 1, "greedy": False}


def test_it_says_where_it_stands_and_stands_behind_the_logger(verl, tmp_path):
    study, trainer = Study(tmp_path, {"order": "go"}), FakeTrainer()
    trainer.global_steps = 8  # verl's number of the step to come
    opened(verl, study, trainer)
    assert study.answers == [{"key": "k"}, {"done": 7}] and trainer.total_training_steps == 30
    assert trainer.replay_buffer.poll_interval < 2.0 and trainer.logger.finish == "finish"
    trainer.logger.log(data={}, step=8)  # the study has gone: the end
    assert trainer.seen == [("logged", 8)] and trainer.total_training_steps == 8


def test_a_checkpoint_is_of_the_step_done_and_taken_while_vllm_sleeps(verl, tmp_path):
    study, trainer = Study(tmp_path, SAVE, {"order": "stop"}), FakeTrainer()
    trainer.global_steps = 8
    opened(verl, study, trainer)
    assert trainer.seen == ["asleep", ("saved", 7)] and study.answers[2] == {"saved": "/checkpoints/global_step_7"}
    assert trainer.global_steps == 8 and trainer.total_training_steps == 7


@pytest.mark.parametrize("then", [{"order": "go"}, EVALUATE])
def test_weights_go_back_to_vllm_before_it_is_used_again(verl, tmp_path, then):
    study, trainer = Study(tmp_path, SAVE, then, {"order": "go"}), FakeTrainer()
    opened(verl, study, trainer)
    assert trainer.seen[:3] == ["asleep", ("saved", 0), ("weights", 0)]


def test_an_evaluation_is_verls_validation_of_other_prompts(verl, tmp_path):
    orders = ({**EVALUATE, "k": 2}, {**EVALUATE, "k": 2, "greedy": True}, {"order": "stop"})
    study, trainer = Study(tmp_path, *orders), FakeTrainer(answers=((1.0, 0.0), (0.0, 0.0)))
    opened(verl, study, trainer)
    assert study.answers[2] == {"right": [[1.0, 0.0], [0.0, 0.0]], "tokens": 10}
    assert trainer.seen == [("validated", [2, 2], False), ("validated", [2, 2], True)]
    assert trainer.val_dataloader == "verl's own" and "_val_metrics_update" not in vars(trainer)


def test_a_prompt_that_was_not_answered_often_enough_ends_the_run(verl, tmp_path):
    study, trainer = Study(tmp_path, {**EVALUATE, "k": 2}), FakeTrainer(answers=((1.0, 0.0), (0.0,)))
    with pytest.raises(RuntimeError, match=r"1 of 2 prompts of v.parquet were not answered 2 times"):
        opened(verl, study, trainer)
