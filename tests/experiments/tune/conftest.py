"""A user's folder for ``jfhpo tune``: two random miniature models, rows, a reward, and the file that names them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from jfhpo.trainers.mini import hf
from tests.trainers.mini import tiny

REWARD = "def score(completions, answer, **columns):\n    return [float(len(c) % 2) for c in completions]\n"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``proxy`` (size xs) and ``target`` (size p)."""
    folder = tmp_path_factory.mktemp("models")
    for name, size in (("proxy", "xs"), ("target", "p")):
        hf.save_pretrained(tiny.random_model(size), tiny.VOCABULARY, folder / name)
    return folder


@pytest.fixture
def job(tmp_path: Path, models: Path):
    """Writes ``my.yaml``, with changes to a job that can run; a value of None leaves a key out."""
    for name in ("proxy", "target"):
        shutil.copytree(models / name, tmp_path / name)
    for split, examples in tiny.SPLITS.items():
        rows = [json.dumps({"prompt": e.prompt, "answer": e.answer}) + "\n" for e in examples]
        (tmp_path / f"{split}.jsonl").write_text("".join(rows))
    (tmp_path / "reward.py").write_text(REWARD)
    usual: dict[str, Any] = {
        "engine": "trl",
        "target": "target",
        "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
        "reward": "reward.py:score",
        "steps": 4,
        "budget_hours": 0.002,
        "space": {"lr": {"low": 1e-4, "high": 1e-2, "log": True}, "rollout_n": [4, 8], "weight_decay": [0.0, 0.1]},
        "start": {"lr": 1e-3, "rollout_n": 4, "weight_decay": 0.1},
        "settings": {"prompts_per_step": 8, "minibatches": 2, "max_completion_length": 8},
        "method": {"name": "jfhpo", "initial": 2},
        "tracking": "none",
        "out": str(tmp_path / "results"),
    }

    def write(**changes: Any) -> Path:
        made = {key: value for key, value in (usual | changes).items() if value is not None}
        path = tmp_path / "my.yaml"
        path.write_text(yaml.safe_dump(made, sort_keys=False))
        return path

    return write
