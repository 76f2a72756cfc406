"""Loading: four layouts from every kind of source, splits that share nothing, and bad input told by file and line."""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets import DATASETS, load, names, reward
from jfhpo.tasks.datasets.reading import _from_hub
from jfhpo.tasks.datasets.splits import carve, question_key
from tests.tasks.datasets.hub_layouts import (
    HUB_SPLITS,
    ROWS,
    folder_of,
    splits_of,
    write_jsonl,
    write_parquet,
)

pytest.importorskip("pyarrow")
OWN = {"openbookqa", "mmlu"}
"""Data sets with a validation split of their own."""
every = pytest.mark.parametrize("name", DATASETS)

PROMPTS = {
    "gsm8k": "Ann has 3 apples and buys 2 more. How many has she? "
    'Let\'s think step by step and output the final answer after "####".',
    "math": "What is half of $3$? Let's think step by step and output the final answer within \\boxed{}.",
    "openbookqa": "Which of these is number 3?\nA. 1\nB. 2\nC. 3\nD. 4\n"
    'Let\'s think step by step and output the letter of the final answer after "####".',
    "mmlu": "What comes after 3?\nA. 4\nB. 3\nC. 6\nD. 7\n"
    'Let\'s think step by step and output the letter of the final answer after "####".',
}
ANSWERS = {"gsm8k": "5", "math": "\\frac{3}{2}", "openbookqa": "C", "mmlu": "A"}
NOTES = {"math": {"level": "Level 4", "type": "Prealgebra"}, "mmlu": {"subject": "elementary_mathematics"}}


@every
def test_a_row_becomes_a_prompt_an_answer_and_its_notes(name, tmp_path):
    prompts = load(name, str(folder_of(name, tmp_path)))
    first = next(row for split in ("train", "validation") for row in prompts.splits[split] if row.index == 0)
    assert [first.prompt, first.answer, first.notes] == [PROMPTS[name], ANSWERS[name], NOTES.get(name, {})]
    assert (prompts.data_source, prompts.chat) == (DATASETS[name].hub, True)


@every
def test_splits_are_the_sources_and_share_no_question(name, tmp_path):
    prompts = load(name, str(folder_of(name, tmp_path)))
    sizes = {split: len(rows) for split, rows in prompts.splits.items()}
    assert sizes == {"train": 40 if name in OWN else 36, "validation": 10 if name in OWN else 4, "test": 10}
    keys = [question_key(row) for rows in prompts.splits.values() for row in rows]
    assert len(set(keys)) == len(keys)


def hub_folder(name: str, folder: Path) -> Path:
    """The files of a hub repository: parquet shards in ``<config>/``, or ``data/`` where there is but one."""
    inside = folder / (DATASETS[name].config or "data")
    for split, rows in splits_of(name).items():
        if split in ("train", "auxiliary_train"):
            write_parquet(inside / f"{split}-00000-of-00002.parquet", rows[:25])
            write_parquet(inside / f"{split}-00001-of-00002.parquet", rows[25:])
        else:
            write_parquet(inside / f"{split}-00000-of-00001.parquet", rows)
    config = DATASETS[name].config or "default"
    files = "".join(f"  - split: {s}\n    path: {inside.name}/{s}-*\n" for s in HUB_SPLITS[name])
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{files}---\n")
    return folder


def same_prompts(one, other) -> bool:
    return {s: list(r) for s, r in one.splits.items()} == {s: list(r) for s, r in other.splits.items()}


@every
def test_a_clone_of_the_hub_reads_like_a_folder_of_json_lines(name, tmp_path):
    lines = load(name, str(folder_of(name, tmp_path / "lines")))
    assert same_prompts(load(name, str(hub_folder(name, tmp_path / "clone"))), lines)


@every
def test_what_datasets_loads_from_the_hubs_layout_is_what_a_folder_gives(name, tmp_path, monkeypatch):
    """`datasets.load_dataset` on a local repository of the hub's layout: the code that the hub's name runs too."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = hub_folder(name, tmp_path / "clone")
    loaded = _from_hub(DATASETS[name], str(folder), DATASETS[name].config)
    assert {split: len(rows) for split, rows in loaded.items()} == {
        ours: HUB_SPLITS[name][theirs] for ours, theirs in DATASETS[name].splits.items()
    }
    monkeypatch.setattr("jfhpo.tasks.datasets.splits.raw_splits", lambda *_: loaded)
    through_datasets = load(name)
    monkeypatch.undo()
    assert same_prompts(through_datasets, load(name, str(folder)))


def test_a_file_of_training_rows_and_one_of_test_rows(tmp_path):
    splits = splits_of("math")
    train = write_parquet(tmp_path / "some.parquet", splits["train"])
    test = write_jsonl(tmp_path / "other.jsonl", splits["test"])
    by_file = load("math", str(train), test=str(test))
    assert same_prompts(by_file, load("math", str(folder_of("math", tmp_path / "folder"))))


@every
def test_the_worked_answers_of_a_data_set_are_right_and_those_of_another_row_wrong(name, tmp_path):
    if name == "math":
        pytest.importorskip("math_verify")
    rows = [row for split in load(name, str(folder_of(name, tmp_path))).splits.values() for row in split][:20]
    said = {"math": "so $\\boxed{%s}$."}.get(name, "so\n#### %s")
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        assert reward(name, said % row.answer, row.answer) == 1.0
        assert reward(name, said % other.answer, row.answer) == float(other.answer == row.answer)


# --- splits ----------------------------------------------------------------------------------------------------------


def test_validation_is_the_sets_own_where_it_has_one_and_carved_where_asked(tmp_path):
    folder = str(folder_of("openbookqa", tmp_path))
    own, carved = load("openbookqa", folder), load("openbookqa", folder, validation="carved", share=0.25)
    assert [row.prompt for row in own.splits["validation"]] != [row.prompt for row in carved.splits["validation"]]
    assert {s: len(r) for s, r in carved.splits.items()} == {"train": 30, "validation": 10, "test": 10}
    of_train = {row["question_stem"] for row in splits_of("openbookqa")["train"]}
    assert {row.prompt.split("\n")[0] for row in carved.splits["validation"]} <= of_train


def test_carving_is_a_function_of_the_questions_and_the_seed(tmp_path):
    folder = str(folder_of("gsm8k", tmp_path))
    first = load("gsm8k", folder, share=0.3)
    assert same_prompts(load("gsm8k", folder, share=0.3, seed=0), first)
    assert not same_prompts(load("gsm8k", folder, share=0.3, seed=1), first)
    assert [r.index for r in first.splits["train"]] == sorted(r.index for r in first.splits["train"])


def test_carving_hardly_moves_when_rows_go(tmp_path):
    splits = {"train": ROWS["gsm8k"](2000), "test": ROWS["gsm8k"](1, 5000)}
    rows = load("gsm8k", str(folder_of("gsm8k", tmp_path, splits)))
    every_row = [*rows.splits["train"], *rows.splits["validation"]]
    before = {r.prompt for r in carve(every_row, 0.1, 0)[1]}
    after = {r.prompt for r in carve([r for r in reversed(every_row) if r.index % 50], 0.1, 0)[1]}
    assert len(before) == 200 and len(after) == 196
    assert len(before & after) >= 190


def test_questions_that_come_twice_are_dropped_from_train_first_and_never_from_test(tmp_path):
    row = ROWS["openbookqa"]
    spaced = [dict(r, question_stem=f"  {r['question_stem'].upper()} ") for r in row(1, 300)]
    splits = {
        "train": [*row(20, 100), *row(5, 100), *row(2, 200), *spaced, *row(1, 250)],  # 5 again, 3 held out
        "validation": [*row(6, 200), *row(1, 300)],  # one of test
        "test": [*row(8, 300), *row(1, 301)],  # one again
    }
    prompts = load("openbookqa", str(folder_of("openbookqa", tmp_path, splits)))
    assert {s: len(r) for s, r in prompts.splits.items()} == {"train": 21, "validation": 6, "test": 9}
    found = {split: (o.repeated, o.held_out) for split, o in prompts.overlaps.items()}
    assert found == {"train": (5, 3), "validation": (0, 1), "test": (1, 0)}
    where = collections.defaultdict(set)
    for split, rows in prompts.splits.items():
        for r in rows:
            where[question_key(r)].add(split)
    assert all(len(splits) == 1 for splits in where.values())


@pytest.mark.parametrize("name", TASKS)
def test_a_generated_task_is_the_one_that_the_miniature_trainer_has(name):
    from jfhpo.trainers.mini.family import SPLIT_SIZES

    prompts, drawn = load(name), TASKS[name].splits(SPLIT_SIZES)
    assert {s: [(r.prompt, r.answer) for r in rows] for s, rows in prompts.splits.items()} == {
        s: [(e.prompt, e.answer) for e in drawn[s]] for s in prompts.splits
    }
    assert (prompts.chat, prompts.data_source) == (False, f"jfhpo/{name}")
    assert not same_prompts(load(name, seed=7), prompts)


# --- bad input: one line that names file, row or key ----------------------------------------------------------------


def broken(name: str, folder: Path, **changes) -> str:
    """A folder whose fourth training row has other values; None drops the column."""
    splits = splits_of(name)
    train = next(iter(splits))
    row = {**splits[train][3], **changes}
    splits[train][3] = {column: value for column, value in row.items() if value is not None}
    return str(folder_of(name, folder, splits))


BAD_ROWS = [
    ("gsm8k", {"answer": None}, "no column 'answer'; gsm8k needs question, answer"),
    ("gsm8k", {"question": "  "}, "column 'question' must be text that is not empty, not '  '"),
    ("gsm8k", {"question": 7}, "column 'question' must be text that is not empty, not 7"),
    ("gsm8k", {"answer": "it is 5"}, "column 'answer' must end in '#### <number>', not 'it is 5'"),
    ("gsm8k", {"answer": "#### five"}, "column 'answer' must end in '#### <number>', not '#### five'"),
    ("math", {"level": None}, "no column 'level'; math needs problem, solution, level, type"),
    ("math", {"solution": "it is 5"}, "column 'solution' must hold the answer as \\boxed{...}, not 'it is 5'"),
    ("openbookqa", {"answerKey": "E"}, "column 'answerKey' must be one of A, B, C, D, not 'E'"),
    ("openbookqa", {"choices": ["a", "b"]}, "column 'choices' must hold 'text' and 'label', not ['a', 'b']"),
    (
        "openbookqa",
        {"choices": {"text": ["a", "b", "c"], "label": ["A", "B", "C", "D"]}},
        "column 'choices.text' must hold 4 texts, not ['a', 'b', 'c']",
    ),
    ("mmlu", {"answer": 4}, "column 'answer' must be 0, 1, 2 or 3, not 4"),
    ("mmlu", {"answer": "A"}, "column 'answer' must be 0, 1, 2 or 3, not 'A'"),
    ("mmlu", {"choices": ["1", "2", "3", 4]}, "column 'choices' must hold 4 texts, not ['1', '2', '3', 4]"),
]


@pytest.mark.parametrize(("name", "changes", "why"), BAD_ROWS)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(name, changes, why, tmp_path):
    train = next(iter(HUB_SPLITS[name]))
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path / train}.jsonl, line 4: {why}")):
        load(name, broken(name, tmp_path, **changes))


def refused(message: str):
    return pytest.raises(UsageError, match=message)


def test_a_parquet_row_is_named_too(tmp_path):
    rows = splits_of("gsm8k")["train"]
    rows[30] = dict(rows[30], answer="none")
    write_parquet(tmp_path / "train.parquet", rows)
    write_jsonl(tmp_path / "test.jsonl", splits_of("gsm8k")["test"])
    with refused(r"train\.parquet, row 31: column 'answer' must end"):
        load("gsm8k", str(tmp_path))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"question": "a",\n', r"train\.jsonl, line 1 is not JSON: Expecting property name"),
        (b'\n{"question": "a\xff"}\n', r"train\.jsonl, line 2 is not JSON: 'utf-8' codec"),
        (b'["a", "b"]\n', r"train\.jsonl, line 1 must be a JSON object, one a line, not list"),
        (b"", r"split train of gsm8k from .* is empty"),
    ],
)
def test_a_file_that_is_not_json_lines(content, why, tmp_path):
    folder_of("gsm8k", tmp_path)
    (tmp_path / "train.jsonl").write_bytes(content)
    with refused(why):
        load("gsm8k", str(tmp_path))


def test_a_file_that_is_not_parquet(tmp_path):
    (tmp_path / "train.parquet").write_text("no")
    write_jsonl(tmp_path / "test.jsonl", splits_of("gsm8k")["test"])
    with refused(r"train\.parquet is not a parquet file"):
        load("gsm8k", str(tmp_path))


def test_a_file_that_cannot_be_opened(tmp_path):
    folder_of("gsm8k", tmp_path)
    (tmp_path / "train.jsonl").unlink()
    (tmp_path / "train.jsonl").mkdir()
    with refused(r"cannot read .*train\.jsonl: Is a directory"):
        load("gsm8k", str(tmp_path))


def test_a_split_that_is_missing(tmp_path):
    splits = splits_of("openbookqa")
    folder = str(folder_of("openbookqa", tmp_path, {s: splits[s] for s in ("train", "test")}))
    with refused(r"has no split validation \(found: test, train\); carve one from train with validation=carved"):
        load("openbookqa", folder)
    assert len(load("openbookqa", folder, validation="carved").splits["validation"]) == 4
    (tmp_path / "test.jsonl").unlink()
    with refused(r"has no split test \(found: train\)$"):
        load("openbookqa", folder, validation="carved")


def test_gsm8k_has_no_validation_split_of_its_own_unless_somebody_adds_one(tmp_path):
    folder = str(folder_of("gsm8k", tmp_path))
    with refused(r"gsm8k from .* has no split validation \(found: test, train\)"):
        load("gsm8k", folder, validation="own")
    write_jsonl(tmp_path / "validation.jsonl", ROWS["gsm8k"](5, 900))
    assert len(load("gsm8k", folder, validation="own").splits["validation"]) == 5


def test_bad_settings_are_refused(tmp_path):
    folder = str(folder_of("gsm8k", tmp_path))
    for share in (0, 1, -0.1, float("nan")):
        with refused(f"share={share} must lie between 0 and 1"):
            load("gsm8k", folder, share=share)
    with refused("split validation of gsm8k is left without a question: 40 rows in train, share=0.001"):
        load("gsm8k", folder, share=0.001)
    with refused("share=0.2 is for validation=carved; mmlu is told to use its own"):
        load("mmlu", folder, share=0.2)
    with refused(r"unknown validation 'caved' \(did you mean 'carved'\?\); valid: carved, own"):
        load("gsm8k", folder, validation="caved")
    with refused(r"unknown data set 'gsm8' \(did you mean 'gsm8k'\?\)"):
        load("gsm8", folder)
    with refused("sorting is generated: it takes a seed, but no source"):
        load("sorting", folder)


def test_bad_sources_are_refused(tmp_path):
    folder_of("gsm8k", tmp_path)
    with refused("no file or folder /nope/gsm8k, and a name on the hub is owner/name, like openai/gsm8k"):
        load("gsm8k", "/nope/gsm8k")
    with refused("no file or folder data/train.jsonl"):
        load("gsm8k", "data/train.jsonl")
    with refused("is one file and holds training rows: name a file of test rows too"):
        load("gsm8k", str(tmp_path / "train.jsonl"))
    with refused("cannot read .*none.jsonl: No such file"):
        load("gsm8k", str(tmp_path / "train.jsonl"), test=str(tmp_path / "none.jsonl"))
    with refused("belongs to a --source that is a file of training rows"):
        load("gsm8k", str(tmp_path), test="x.jsonl")
    (tmp_path / "empty").mkdir()
    with refused("empty holds no split of gsm8k; wanted: train.jsonl, test.jsonl"):
        load("gsm8k", str(tmp_path / "empty"))
    write_parquet(tmp_path / "train.parquet", splits_of("gsm8k")["train"])
    with refused("holds split train more than once: train.jsonl, train.parquet; keep one"):
        load("gsm8k", str(tmp_path))


def test_a_hub_that_cannot_be_reached_is_one_line():
    pytest.importorskip("datasets")
    script = "from jfhpo.tasks.datasets import load\nload('gsm8k')"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
    assert "UsageError: cannot load openai/gsm8k (main) from the hub: " in done.stderr
    assert done.stderr.rstrip().endswith("name a local folder or file instead (jfhpo data: --source)")


def test_names_are_the_data_sets_and_the_generated_tasks():
    assert names() == sorted([*DATASETS, *TASKS])


def test_importing_it_loads_nothing_heavy():
    script = "import sys, jfhpo.tasks.datasets; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "datasets", "pyarrow", "sympy", "math_verify", "pandas", "numpy"} & set(eval(done.stdout))
