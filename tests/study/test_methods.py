"""Methods are found, not listed."""

from __future__ import annotations

import pytest

import baselines
import jfhpo.method
from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.study import methods as table

METHOD = '''
from dataclasses import dataclass
from baselines.random_search import RandomSearch

@dataclass
class Settings:
    """Nothing."""

class {cls}(RandomSearch):
    name = "{name}"
'''


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


def test_a_method_is_found_by_name_and_a_misspelt_one_refused():
    assert table.method("recipe").name == "recipe"
    with pytest.raises(
        UsageError, match=r"unknown method 'recepi' \(did you mean 'recipe'\?\); valid: .*random_search"
    ):
        table.method("recepi")
