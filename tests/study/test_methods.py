"""Methods are found, not listed."""

from __future__ import annotations

import dataclasses

import pytest

import baselines
import jfhpo.method
from jfhpo import cli
from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.study import methods as table

METHOD = """
from baselines.random_search import RandomSearch

class {cls}(RandomSearch):
    name = "{name}"
"""


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Write a module into a folder that counts as part of ``baselines``."""
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])

    def add(module: str, cls: str, name: str) -> None:
        (tmp_path / f"{module}.py").write_text(METHOD.format(cls=cls, name=name))

    return add


def found() -> dict[str, type[Optimizer]]:
    return table.methods.__wrapped__()  # past the cache


def test_every_optimizer_with_a_name_is_a_method():
    assert {"jfhpo", "random_search", "recipe"} <= set(found())
    for name, cls in found().items():
        assert cls.name == name
        assert issubclass(cls, Optimizer)
        assert cls.__module__.startswith((jfhpo.method.__name__, baselines.__name__))


def test_a_new_file_is_a_new_method(added):
    before = set(found())
    added("anew_for_this_test", "Anew", "anew")
    assert set(found()) == before | {"anew"}, "and what it imports is not listed under a second name"


def test_two_methods_of_one_name_are_refused_with_both_classes(added):
    added("twin_for_this_test", "Twin", "recipe")
    with pytest.raises(RuntimeError, match=r"two methods are called recipe: .*Recipe.*Twin"):
        found()


def test_every_method_says_what_it_is_and_what_its_settings_mean():
    for name, cls in found().items():
        assert len(table.about(cls)) > 80, name
        for setting in table.settings_of(cls):
            assert setting.meaning.endswith((".", ")")) and setting.default is not dataclasses.MISSING, (name, setting)
    (eta,) = [s for s in table.settings_of(found()["hyperband"]) if s.name == "eta"]
    assert eta.default == 3


def test_a_file_without_docstring_or_settings_is_a_method_all_the_same(added, capsys):
    added("bare_for_this_test", "Bare", "bare")
    bare = found()["bare"]
    assert table.about(bare) == "Bare: its file says nothing of it."
    assert table.settings_of(bare) == []


def test_the_command_lists_methods_and_shows_one_in_full(capsys):
    assert cli.main(["methods"]) == 0
    assert "hyperband" in (listed := capsys.readouterr().out) and "checkpoint_reuse=True" in listed
    assert cli.main(["methods", "hyperband"]) == 0
    shown = capsys.readouterr().out
    assert "Talwalkar 2018" in shown and "method.eta" in shown
    assert cli.main(["methods", "recipe"]) == 0
    assert "There is nothing to set." in capsys.readouterr().out
    assert cli.main(["methods", "hyperbnd"]) == 2
    assert "did you mean 'hyperband'" in capsys.readouterr().err


def test_a_method_is_found_by_name_and_a_misspelt_one_refused():
    assert table.method("recipe").name == "recipe"
    with pytest.raises(
        UsageError, match=r"unknown method 'recepi' \(did you mean 'recipe'\?\); valid: .*random_search"
    ):
        table.method("recepi")
