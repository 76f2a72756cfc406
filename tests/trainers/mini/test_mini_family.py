"""Bases are made once, by what makes them, never half, and never from prompts they are tested on."""

import dataclasses
import json
import multiprocessing
import shutil
from pathlib import Path

import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.tasks import TASKS
from jfhpo.tasks.text_task import Corruption
from jfhpo.trainers import sources as sources_
from jfhpo.trainers.mini import family
from jfhpo.trainers.mini.family import MADE, BaseSpec, build_base, build_bases, load_base
from jfhpo.trainers.mini.pretrain import NoTransition, PretrainSettings, Progress
from tests.trainers.mini import tiny

QUICK = {"max_steps": 2, "bar": 0.0, "polluted_steps": 2, "check_every": 1, "batch": 8}
REAL_SIZES = dict(family.SPLIT_SIZES)
HOPELESS = {"max_steps": 3, "bar": 0.97, "attempts": 2, "batch": 8}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache, and splits that are validated in no time."""
    monkeypatch.setenv("JFHPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(family, "SPLIT_SIZES", dict(tiny.SPLIT_SIZES))
    return tmp_path / "cache"


def spec(size: str = "xs", seed: int = 0, **pretrain) -> BaseSpec:
    return BaseSpec.of("last_digit", size, pretrain, seed)


def folders(cache: Path) -> set[str]:
    return {p.name for p in (cache / "bases" / "last_digit").glob("*")}


# --- where a base lies


def test_a_base_lies_in_the_cache_under_its_task_and_size(cache, monkeypatch):
    assert spec().folder.parent == (cache / "bases" / "last_digit").resolve()
    assert spec().folder.name.startswith("xs-")
    monkeypatch.delenv("JFHPO_CACHE")
    monkeypatch.chdir(cache.parent)
    assert spec().folder.parent == (cache.parent / ".jfhpo_cache" / "bases" / "last_digit").resolve()


SETTINGS = {
    "lr": 0.5,
    "max_steps": 7,
    "attempts": 1,
    "bar": 0.5,
    "check_every": 3,
    "batch": 5,
    "warmup": 1,
    "polluted_steps": 9,
    "pollution": Corruption(0.1, 0.1),
    "pool": 77,
}


def test_everything_that_makes_a_base_changes_its_folder(monkeypatch):
    assert SETTINGS.keys() == {f.name for f in dataclasses.fields(PretrainSettings)}
    seen = {spec().folder, spec("p").folder, spec(seed=1).folder}
    seen |= {spec(**{name: value}).folder for name, value in SETTINGS.items()}
    with monkeypatch.context() as patch:
        patch.setitem(family.SPLIT_SIZES, "test", 511)
        seen.add(spec().folder)
    for field in ("width", "layers", "heads", "ff"):
        with monkeypatch.context() as patch:
            size = family.FAMILY["xs"]
            patch.setitem(family.FAMILY, "xs", dataclasses.replace(size, **{field: 2 * getattr(size, field)}))
            seen.add(spec().folder)
    assert len(seen) == 3 + len(SETTINGS) + 1 + 4


def test_saying_what_is_so_anyway_changes_nothing(monkeypatch):
    settings = family.FAMILY["xs"].pretrain
    assert spec(lr=settings.lr, batch=settings.batch).folder == spec().folder
    assert spec(lr=0.1, batch=4).folder == spec(batch=4, lr=0.1).folder
    assert spec(pollution={"direct": 0.1, "wrong_step": 0.1}) == spec(pollution=Corruption(0.1, 0.1))
    size = dataclasses.replace(family.FAMILY["xs"], relative_cost=99.0)
    before = spec().folder
    monkeypatch.setitem(family.FAMILY, "xs", size)
    assert spec().folder == before


def test_a_base_is_polluted_as_its_task_says_unless_told_otherwise():
    assert BaseSpec.of("sorting", "xs").settings.pollution == TASKS["sorting"].pollution
    assert TASKS["sorting"].pollution != TASKS["last_digit"].pollution
    told = BaseSpec.of("sorting", "xs", {"pollution": {"direct": 0.2, "wrong_step": 0.1}})
    assert told.settings.pollution == Corruption(0.2, 0.1)


@pytest.fixture
def sources(monkeypatch, tmp_path):
    """A copy of the trainers' and the tasks' sources that is read instead of the real ones."""
    for name in ("trainers", "tasks"):
        shutil.copytree(sources_.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources_, "ROOT", tmp_path)
    for module, name in ((family, "trainers/mini"), (family.jfhpo.tasks, "tasks")):
        monkeypatch.setattr(module, "__file__", str(tmp_path / name / Path(module.__file__).name))
    yield tmp_path
    forget_versions()


def forget_versions() -> None:
    sources_._digest.cache_clear()
    family.base_version.cache_clear()


@pytest.mark.parametrize(
    "source, base_changes",
    [
        ("trainers/mini/model.py", True),
        ("trainers/mini/kernels.py", True),
        ("trainers/mini/sampling.py", True),
        ("trainers/mini/vocabulary.py", True),
        ("trainers/mini/pretrain.py", True),
        ("trainers/mini/hf.py", True),
        ("tasks/last_digit.py", True),
        ("tasks/text_task.py", True),
        ("tasks/sorting.py", False),
        ("tasks/__init__.py", False),
        ("trainers/grpovi.py", False),
        ("trainers/mini/grpo.py", False),
        ("trainers/mini/trainer.py", False),
    ],
)
def test_code_that_makes_bases_changes_their_folder_and_other_code_does_not(sources, source, base_changes):
    def versions():
        forget_versions()
        return spec().folder, family.code_version()

    base, trial = versions()
    with (sources / source).open("a") as file:
        file.write("# changed\n")
    new_base, new_trial = versions()
    assert (new_base != base) == base_changes
    assert new_trial != trial  # a checkpoint does depend on all of it


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("last_digits", "xs"), "last_digit"),
        (("last_digit", "m33"), "m3"),
        (("last_digit", "xs", {"max_step": 3}), "max_steps"),
        (("last_digit", "xs", {"pollution": {"wrong_steps": 0.3}}), "wrong_step"),
    ],
)
def test_unknown_words_are_refused_with_the_nearest_known_one(arguments, told):
    with pytest.raises(UsageError, match=f"did you mean '{told}'"):
        BaseSpec.of(*arguments)


# --- making one


def test_a_base_is_published_whole_and_tells_how_it_was_made(cache):
    seen = []
    wanted = spec(**QUICK)
    assert not wanted.made
    folder = build_base(wanted, seen.append)
    assert wanted.made and folder == wanted.folder
    assert folders(cache) == {folder.name}  # nothing half-made beside it
    card = json.loads((folder / "base.json").read_text())
    assert (card["task"], card["size"], card["seed"]) == ("last_digit", "xs", 0)
    assert card["pretrain"] == dataclasses.asdict(wanted.settings)
    assert 0 <= card["sampled_accuracy"] <= 1 and card["cpu_seconds"] > 0 and card["attempt"] == 0
    assert [(p.phase, p.step, p.of) for p in seen] == [("clean", 1, 2), ("polluted", 1, 2), ("polluted", 2, 2)]
    assert load_base(folder, tiny.VOCABULARY).shape == wanted_shape()


def wanted_shape():
    return family.FAMILY["xs"].shape(len(tiny.VOCABULARY))


def test_a_base_is_its_seeds(cache):
    weights = []
    for seed in (0, 0, 1):
        folder = build_base(spec(seed=seed, **QUICK))
        weights.append(load_base(folder, tiny.VOCABULARY).flat.clone())
        shutil.rmtree(folder)
        torch.manual_seed(seed + 17)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_who_comes_second_leaves_the_first_ones_base_alone(cache):
    folder = build_base(spec(**QUICK))
    (folder / "mine").touch()
    assert build_base(spec(**QUICK)) == folder
    assert (folder / "mine").exists() and folders(cache) == {folder.name}


@pytest.fixture
def crash_while_saving(monkeypatch):
    def crash(model, vocabulary, folder):
        (folder / "config.json").touch()
        raise OSError("disk full")

    monkeypatch.setattr(family.hf, "save_pretrained", crash)
    with pytest.raises(OSError, match="disk full"):
        build_base(spec(**QUICK))


def test_a_crash_while_saving_publishes_nothing(crash_while_saving):
    assert not spec(**QUICK).made and not spec(**QUICK).folder.exists()


def test_a_crash_while_saving_leaves_nothing_behind(cache, crash_while_saving):
    assert folders(cache) == set()


def test_a_base_that_was_not_made_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="make it with"):
        load_base(tmp_path, tiny.VOCABULARY)


def test_no_transition_is_said_after_every_attempt_and_watched():
    seen: list[Progress] = []
    with pytest.raises(NoTransition, match=r"97% on clean last_digit within 3 steps from any of 2 seeds; raise max_"):
        build_base(spec(**HOPELESS), seen.append)
    failed = [p for p in seen if p.phase == "no transition"]
    assert [(p.attempt, p.step, p.of) for p in failed] == [(0, 3, 3), (1, 3, 3)]
    assert all(p.accuracy < 0.97 for p in failed)
    assert {p.phase for p in seen} == {"clean", "no transition"}


def test_the_next_attempt_has_another_seed(monkeypatch):
    """The second attempt passes where the first did not: it is told in the card, and the weights are its own."""
    accuracies = iter([0.1, 0.99, 0.2, 0.3])
    monkeypatch.setattr(family.Material, "accuracy", lambda self, model, generator=None: next(accuracies))
    settings = {**QUICK, "bar": 0.97, "max_steps": 1, "polluted_steps": 1}
    folder = build_base(spec(**settings))
    card = json.loads((folder / "base.json").read_text())
    assert (card["attempt"], card["clean_accuracy"]) == (1, 0.99)
    assert (card["greedy_accuracy"], card["sampled_accuracy"]) == (0.2, 0.3)
    second = load_base(folder, tiny.VOCABULARY).flat
    monkeypatch.setattr(family.Material, "accuracy", lambda self, model, generator=None: 0.99)
    first = load_base(build_base(spec(**settings, warmup=19)), tiny.VOCABULARY).flat
    assert not torch.allclose(first, second, atol=0.1)


def test_a_phase_ends_at_the_bar_and_pollution_does_not():
    seen: list[Progress] = []
    build_base(spec(**QUICK | {"max_steps": 50, "polluted_steps": 4}), seen.append)
    assert [p.step for p in seen if p.phase == "clean"] == [1]  # the bar is 0
    assert [p.step for p in seen if p.phase == "polluted"] == [1, 2, 3, 4]


def test_no_held_out_prompt_is_ever_shown(monkeypatch):
    """Thousands of demonstrations, most of a question space small enough that chance would not spare the splits."""
    caught = []
    monkeypatch.setattr(family, "SPLIT_SIZES", REAL_SIZES)
    monkeypatch.setattr(family, "make_base", lambda material, *a: caught.append(material) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_base(spec(**QUICK))
    task = TASKS["last_digit"]
    splits = task.splits(REAL_SIZES)
    held_out = {example.prompt for split in splits.values() for example in split}
    assert len(held_out) == sum(REAL_SIZES.values())
    for corruption in (Corruption(), family.FAMILY["xs"].pretrain.pollution):
        prompts, _ = caught[0].demonstrations(4000, corruption, seed=1)
        shown = {tiny.VOCABULARY.decode(row)[0] for row in prompts.tolist()}
        assert len(shown) > 2000 and not shown & held_out
    unguarded = dataclasses.replace(caught[0], held_out=frozenset()).demonstrations(4000, Corruption(), 1)[0]
    assert len({tiny.VOCABULARY.decode(row)[0] for row in unguarded.tolist()} & held_out) > 100


# --- making several


@pytest.fixture
def forked(monkeypatch):
    """Workers that start at once: a spawned one takes seconds to import torch and transformers."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(family.multiprocessing, "get_context", lambda method: context)


def test_missing_bases_are_made_two_at_a_time_and_a_second_call_does_nothing(cache, forked):
    specs = [spec(seed=seed, **QUICK) for seed in range(3)]
    build_base(specs[0])
    before = (specs[0].folder / "base.json").stat().st_mtime_ns
    specs.append(spec(seed=3, **QUICK))
    seen, together = [], []

    def watch(who, what):
        seen.append((who, what))
        together.append(len(multiprocessing.active_children()))

    build_bases(specs, watch, at_once=2)
    assert all(s.made for s in specs)
    assert [s for s, what in seen if what == MADE] and {s for s, what in seen if what == MADE} == set(specs[1:])
    assert {s for s, _ in seen} == set(specs[1:])
    assert max(together) == 2
    assert (specs[0].folder / "base.json").stat().st_mtime_ns == before
    assert folders(cache) == {s.folder.name for s in specs}
    assert not multiprocessing.active_children()

    build_bases(specs, lambda *seen: pytest.fail(f"made again: {seen}"))


def test_equal_specs_are_one_base(cache, forked):
    same = [spec(**QUICK), spec(**QUICK)]
    made = []
    build_bases(same, lambda who, what: made.append(what))
    assert made.count(MADE) == 1 and folders(cache) == {same[0].folder.name}


def test_the_largest_base_is_started_first(forked):
    first = []
    build_bases([spec(**QUICK), spec("p", **QUICK)], lambda who, what: first.append(who.size), at_once=1)
    assert list(dict.fromkeys(first)) == ["p", "xs"]


def test_no_transition_in_a_worker_reaches_the_caller(cache):
    """With a real, spawned worker: specs, progress and the error cross between processes."""
    seen = []
    with pytest.raises(NoTransition, match="from any of 2 seeds"):
        build_bases([spec(**HOPELESS)], lambda *told: seen.append(told))
    assert {s for s, _ in seen} == {spec(**HOPELESS)}
    assert [p.phase for _, p in seen].count("no transition") == 2
    assert folders(cache) == set()


def test_no_transition_stops_the_other_workers(cache, forked):
    endless = spec(seed=1, **QUICK | {"polluted_steps": 100_000, "check_every": 100_000, "pool": 8})
    with pytest.raises(NoTransition):
        build_bases([endless, spec(**HOPELESS)], lambda *told: None)
    for process in multiprocessing.active_children():
        process.join(10)
    assert not multiprocessing.active_children()
    assert folders(cache) == set()


def test_a_worker_that_dies_is_an_error_not_a_hang(forked):
    with pytest.raises(RuntimeError, match="building base xs died with exit code 1"):
        build_bases([spec(**QUICK | {"batch": -1})], lambda *seen: None)
