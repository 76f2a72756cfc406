"""The version of a trial is of every source that decides it, found through imports, wherever the project lies."""

from __future__ import annotations

import shutil

import pytest

from jfhpo.trainers import sources as module
from jfhpo.trainers.engine import engine
from jfhpo.trainers.sources import source_digest, sources

TREE = {
    "tasks/__init__.py": '"""Tasks."""',
    "tasks/sums.py": "from jfhpo.tasks import words\n",
    "tasks/words.py": "",
    "tasks/worker.py": "from jfhpo.tasks.limits import LIMIT\n",
    "tasks/limits.py": "LIMIT = 1\n",
    "tasks/unused.py": "",
    "core/__init__.py": "",
    "core/trial.py": "",
    "trainers/__init__.py": "",
    "trainers/engine.py": "import jfhpo.trainers.own.trainer\n",
    "trainers/own/__init__.py": "",
    "trainers/own/trainer.py": (
        "import os, torch\nfrom jfhpo.core.trial import Trial\nimport jfhpo.trainers.shared as shared\n"
        "def start():\n    from jfhpo.tasks.sums import add\n    run(['-m', 'jfhpo.tasks.worker'])\n"
    ),
    "trainers/shared.py": "REWARD = 'pkg://jfhpo.trainers.reward:Class'\n",
    "trainers/reward.py": "",
}
OF_THE_TRAINER = {
    "tasks/__init__.py", "tasks/sums.py", "tasks/words.py", "tasks/worker.py", "tasks/limits.py",
    "trainers/__init__.py", "trainers/own/__init__.py", "trainers/own/trainer.py", "trainers/shared.py",
    "trainers/reward.py",
}  # fmt: skip


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name, content in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def digest() -> str:
    module._digest.cache_clear()
    return source_digest("jfhpo.trainers.own.trainer")


def test_sources_are_those_that_are_imported_or_started(tree):
    """At the top or in a function, through others, as a package or by name; not what merely lies there."""
    found = sources("jfhpo.trainers.own.trainer")
    assert {path.relative_to(tree).as_posix() for path in found} == OF_THE_TRAINER
    assert found == sorted(found)


@pytest.mark.parametrize("name", sorted(TREE))
def test_a_change_to_any_of_them_is_another_digest_and_a_change_elsewhere_is_none(tree, name):
    before = digest()
    with (tree / name).open("a") as file:
        file.write("# changed\n")
    assert (digest() != before) == (name in OF_THE_TRAINER)


def test_the_digest_is_the_same_wherever_the_project_lies(tree, tmp_path, monkeypatch):
    before = digest()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tree / "trainers", elsewhere / "trainers")
    shutil.copytree(tree / "tasks", elsewhere / "tasks")
    monkeypatch.setattr(module, "ROOT", elsewhere)
    assert digest() == before


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("trl", "tasks/last_digit.py"),
        ("trl", "tasks/text_task.py"),
        ("trl", "tasks/graded.py"),
        ("trl", "tasks/datasets/splits.py"),
        ("trl", "tasks/datasets/math_worker.py"),
        ("trl", "trainers/mini/grpo.py"),
        ("trl", "trainers/grpovi.py"),
        ("sft", "tasks/instructions/generated.py"),
        ("sft", "trainers/mini/grpo.py"),
        ("mini", "tasks/graded.py"),
        ("mini", "trainers/mini/sampling.py"),
    ],
)
def test_tasks_and_the_order_of_prompts_are_part_of_a_trials_version(name, source, tmp_path, monkeypatch):
    """`PromptOrder` is in ``mini/grpo.py``; a process apart compares MATH's answers."""
    arguments = {"task": "last_digit", "models": {}, "bases": {}, "max_steps": 8, "settings": {}, "data": {}}
    for folder in ("tasks", "trainers"):
        shutil.copytree(module.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = engine(name).version(arguments)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert engine(name).version(arguments) == before
    with (tmp_path / source).open("a") as file:
        file.write("# changed\n")
    module._digest.cache_clear()
    assert engine(name).version(arguments) != before
    module._digest.cache_clear()
