"""What an engine says of itself before it is imported where trials run: its sizes, its arguments and its version."""

from __future__ import annotations

import json

import pytest

from jfhpo.trainers.engine import engine, engines
from tests.trainers.conformance import case as cases
from tests.trainers.conformance.parts import END, ENGINES, PROBLEM, check, spec


@check("its word to the study")
def test_sizes_are_ordered_by_parameters_and_hold_those_of_the_problem(name):
    problem = PROBLEM | cases.case(name).problem
    spec(name)  # skips the engine where it is not installed
    sizes = engine(name).family(problem)
    assert [size.parameters for size in sizes] == sorted(size.parameters for size in sizes)
    assert {problem["proxy"], problem["target"]} <= {size.name for size in sizes}
    assert all(size.relative_cost > 0 and size.width > 0 for size in sizes)
    assert engine(name).name == name and problem["max_steps"] > END


@check("its word to the study")
def test_arguments_are_plain_data_that_another_process_can_read(name):
    arguments = spec(name).arguments
    assert json.loads(json.dumps(arguments)) == arguments


@check("version")
def test_the_version_is_of_the_arguments_and_not_of_where_things_lie(name, monkeypatch, tmp_path):
    found, arguments = engine(name), spec(name).arguments
    assert found.version(arguments) == found.version(dict(reversed(arguments.items()))) == spec(name).version
    for key, value in arguments.items():
        changed = {**arguments, key: {**value, "other": "1"} if isinstance(value, dict) else f"{value}1"}
        assert found.version(changed) != spec(name).version, key
    monkeypatch.setenv("JFHPO_CACHE", str(tmp_path))  # where base models lie
    assert found.version(found.arguments(PROBLEM | cases.case(name).problem)) == spec(name).version


@check("version")
def test_the_version_is_of_every_source_that_a_trial_has_run(name, elsewhere):
    """The project's trainers and tasks that a process has imported which ran and resumed a trial."""
    missing = elsewhere["imported"] - elsewhere["hashed"]
    assert not missing, f"a change to {sorted(missing)[0]} would leave checkpoints of other code in use"


def test_an_engine_without_a_case_fails_and_is_told_what_to_add():
    with pytest.raises(pytest.fail.Exception, match=r"add tests/trainers/new_engine/conformance\.py with CASE = Case"):
        cases.case("new_engine")
    assert not cases.is_slow("new_engine")


def test_every_engine_that_can_be_found_is_tested():
    assert tuple(param.values[0] for param in ENGINES) == engines()
