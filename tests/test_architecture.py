"""The house has five floors and arrows point down: every import is checked against the table of the design."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "jfhpo.core": 0,  # the nouns, used by all
    "jfhpo.tasks": 1,
    "jfhpo.replay": 1,
    "jfhpo.trainers": 2,
    "jfhpo.dynamics": 2,
    "jfhpo.method": 2,
    "baselines": 2,
    "jfhpo.study": 3,
    "jfhpo.integrations": 3,
    "experiments": 4,
    "paper_figures": 5,
    "jfhpo.cli": 6,  # on top of all
}
LONGEST = 400
LONGER_WITH_A_REASON: dict[str, str] = {}
"""Path -> reason."""


def sources() -> list[Path]:
    return sorted(
        p for top in ("jfhpo", "baselines", "experiments", "paper_figures") for p in (ROOT / top).rglob("*.py")
    )


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The longest room that a module lies in; None for libraries."""
    return max((r for r in FLOORS if module == r or module.startswith(r + ".")), key=len, default=None)


def imports(path: Path) -> Iterator[str]:
    """Every module that a source imports, inside functions too, and each name of a ``from package import name``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> list:
    return [pytest.param(p, id=name_of(p)) for p in sources()]


def test_every_module_lies_in_a_room():
    homeless = [name_of(p) for p in sources() if room_of(name_of(p)) is None]
    assert homeless == ["jfhpo"], "a new package belongs on a floor of the design, and into the table above"


@pytest.mark.parametrize("path", modules())
def test_arrows_point_down_and_never_to_another_room_of_the_same_floor(path):
    room = room_of(name_of(path))
    wrong = []
    for module in imports(path):
        other = room_of(module)
        if other is not None and other != room and (room is None or FLOORS[other] >= FLOORS[room]):
            wrong.append(f"{name_of(path)} (floor {FLOORS.get(room)}) imports {module} (floor {FLOORS[other]})")
    assert wrong == []


@pytest.mark.parametrize("path", [p for p in modules() if p.id.startswith(("jfhpo.core", "jfhpo.dynamics"))])
def test_the_nouns_and_the_rules_need_no_torch(path):
    heavy = {"torch", "botorch", "gpytorch", "transformers", "trl", "verl", "ray", "wandb"}
    assert {m.split(".")[0] for m in imports(path)} & heavy == set()


def test_no_trainer_knows_an_optimizer_and_no_optimizer_a_trainer():
    for path in sources():
        used = {room_of(m) for m in imports(path)}
        if room_of(name_of(path)) == "jfhpo.trainers":
            assert not used & {"jfhpo.method", "baselines"} and "jfhpo.core.optimizer" not in set(imports(path))
        if room_of(name_of(path)) in ("jfhpo.method", "baselines"):
            assert "jfhpo.trainers" not in used
            assert not any(m.startswith("jfhpo.core.trainer") for m in imports(path))


@pytest.mark.parametrize("path", modules())
def test_a_module_opens_with_what_it_does(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring and len(docstring.split()) >= 3


@pytest.mark.parametrize("path", modules())
def test_a_file_can_be_read_in_one_go(path):
    lines = len(path.read_text().splitlines())
    allowed = str(path.relative_to(ROOT)) in LONGER_WITH_A_REASON
    assert lines <= LONGEST or allowed, f"{lines} lines; split it, or list it with a reason"


def test_the_list_of_longer_files_holds_none_that_got_shorter_or_went():
    for name in LONGER_WITH_A_REASON:
        assert len((ROOT / name).read_text().splitlines()) > LONGEST
