"""A user's own rows and reward function: what is read, what is refused, and by which name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.tasks.datasets import to_verl
from jfhpo.tasks.datasets.own import prompt_key, prompts_of, read_own
from jfhpo.tasks.datasets.own_reward import (
    OwnReward,
    call_of,
    check_verl_rows,
    compute_score,
    load_function,
    trl_reward,
)

ROWS = [{"prompt": f"what is {n} + {n}?", "answer": str(2 * n)} for n in range(20)]


def write(path: Path, rows: list) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.jsonl", ROWS)


def test_rows_stay_as_they_are_and_a_share_of_train_becomes_validation(train):
    found = read_own("trl", train, share=0.2, seed=3)
    sizes = {split: len(rows) for split, rows in found.splits.items()}
    assert sizes == {"train": 16, "validation": 4, "test": 4}
    assert not found.tested and found.splits["test"] == found.splits["validation"]
    together = [*found.splits["train"], *found.splits["validation"]]
    assert sorted(together, key=prompt_key) == sorted(ROWS, key=prompt_key)
    assert read_own("trl", train, share=0.2, seed=3) == found
    assert read_own("trl", train, share=0.2, seed=4).splits["validation"] != found.splits["validation"]


def test_prompts_of_train_that_are_held_out_are_counted(tmp_path, train):
    held_out = write(tmp_path / "v.jsonl", [ROWS[0], {"prompt": "  WHAT is 1 + 1?", "answer": "2"}])
    found = read_own("trl", train, validation=held_out)
    assert (found.shared, len(found.splits["train"])) == (2, 20)


def test_parquet_is_read_as_json_lines_are(tmp_path, train):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "train.parquet")
    assert read_own("trl", str(tmp_path / "train.parquet"), share=0.2) == read_own("trl", train, share=0.2)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({}, "comes without a validation split"),
        ({"share": 0.0}, "validation_share=0.0 must lie between 0 and 1"),
        ({"share": 0.01}, "leaves validation empty"),
        ({"share": 0.1, "validation": "v.jsonl"}, "both given; keep one"),
        ({"validation": "gone.jsonl"}, "data.validation: no file gone.jsonl"),
        ({"validation": "nowhere"}, "must be a file"),
        ({"share": 0.1, "columns": ("solution",)}, "train.jsonl, line 1: no column 'solution'; it has prompt, answer"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(train, arguments, said):
    with pytest.raises(UsageError) as told:
        read_own("trl", train, **arguments)
    assert said in str(told.value)


@pytest.mark.parametrize(
    "engine, row, said",
    [
        ("trl", {"answer": "1"}, "line 3: no column 'prompt'"),
        ("trl", {"prompt": "x"}, "line 3: no column 'answer'"),
        ("trl", {"prompt": "", "answer": "1"}, "line 3: column 'prompt' must be text that is not empty"),
        ("trl", {"prompt": 7, "answer": "1"}, "line 3: column 'prompt' must be text or messages"),
        (
            "trl",
            {"prompt": [{"role": "user", "content": "x"}], "answer": "1"},
            "text in some rows and messages in others",
        ),
        ("verl", {"prompt": "x"}, "line 1: no column 'data_source'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_file_line_and_column(tmp_path, engine, row, said):
    path = write(tmp_path / "train.jsonl", [*ROWS[:2], row])
    with pytest.raises(UsageError) as told:
        read_own(engine, path, share=0.5)
    assert said in str(told.value) and str(tmp_path) in str(told.value)


def test_verl_rows_need_messages_source_and_truth(tmp_path):
    good = {"prompt": [{"role": "user", "content": "x"}], "data_source": "mine", "reward_model": {"ground_truth": "1"}}
    other = good | {"prompt": [{"role": "user", "content": "y"}]}
    assert len(read_own("verl", write(tmp_path / "a.jsonl", [good, other]), share=0.5).splits["train"]) == 1
    with pytest.raises(UsageError, match="line 2: column 'reward_model' must be a mapping with ground_truth"):
        read_own("verl", write(tmp_path / "b.jsonl", [good, other | {"reward_model": {"style": "rule"}}]), share=0.5)


# ---- rewards


@pytest.fixture
def rewards(tmp_path) -> Path:
    path = tmp_path / "rewards.py"
    path.write_text(
        "def right(completions, answer, **columns):\n"
        "    return [float(c == a) for c, a in zip(completions, answer)]\n"
        "def last(completions, **columns):\n"
        "    return [len(c[-1]['content']) for c in completions]\n"
        "def one_short(completions, **columns):\n    return [0.0] * (len(completions) - 1)\n"
        "def nothing(completions, **columns):\n    return [None] * len(completions)\n"
        "def breaks(completions, **columns):\n    return columns['solution']\n"
        "def only(completions):\n    return []\n"
        "def number(data_source, solution_str, ground_truth, extra_info):\n    return 0.5\n"
        "def divides(data_source, solution_str, ground_truth, extra_info):\n    return 1 / len(solution_str)\n"
        "def nothing_at_all(data_source, solution_str, ground_truth, extra_info):\n    return None\n"
        "def mapping(data_source, solution_str, ground_truth, extra_info):\n"
        "    return {'score': 0.5, 'acc': 1.0, 'length': 3}\n"
        "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 0.0\n"
    )
    return path


def test_a_reward_sees_completions_and_columns_in_trls_form(rewards):
    assert OwnReward(f"{rewards}:right")(**call_of(ROWS[:3], ["0", "1", "4"])) == [1.0, 0.0, 1.0]
    chat = [{"prompt": [{"role": "user", "content": "x"}]}]
    assert OwnReward(f"{rewards}:last")(**call_of(chat, ["four"])) == [4.0]


@pytest.mark.parametrize(
    "name, said",
    [
        ("one_short", "gave 1 numbers for 2 completions"),
        ("nothing", "gave None for completion 0; it must be a finite number"),
        ("breaks", "KeyError: 'solution'"),
        ("only", "cannot take what it will be called with"),
    ],
)
def test_a_reward_that_would_fail_in_training_is_refused_before(rewards, name, said):
    with pytest.raises(UsageError) as told:
        OwnReward(f"{rewards}:{name}").try_on(ROWS[:2])
    assert said in str(told.value) and f"rewards.py:{name}" in str(told.value)


@pytest.mark.parametrize(
    "reward, said",
    [
        ("gone.py:f", "no file gone.py"),
        ("{file}", "must name the function too"),
        ("{file}:rihgt", "holds no function rihgt; it has right, last"),
        ("gsm9k", "must be file.py:function, or a check of ours"),
    ],
)
def test_a_reward_that_is_not_there_is_named(rewards, reward, said):
    with pytest.raises(UsageError) as told:
        trl_reward(reward.format(file=rewards))
    assert said in str(told.value)


def test_a_file_that_cannot_be_imported_is_one_line(tmp_path):
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(UsageError, match="cannot be imported: ModuleNotFoundError"):
        load_function(f"{tmp_path / 'broken.py'}:f")


VERL_ROWS = [
    {"prompt": [{"role": "user", "content": "x"}], "data_source": "mine", "reward_model": {"ground_truth": "1"}}
]


def test_verl_is_given_a_function_that_it_can_call(rewards):
    check_verl_rows(f"{rewards}:compute_score", {"validation": VERL_ROWS})
    with pytest.raises(UsageError, match="cannot take what it will be called with"):
        check_verl_rows(f"{rewards}:right", {"validation": VERL_ROWS})
    with pytest.raises(UsageError, match="fails on an empty response to one of the rows: ZeroDivisionError"):
        check_verl_rows(f"{rewards}:divides", {"validation": VERL_ROWS})


def test_a_check_of_ours_is_for_rows_of_its_source(rewards):
    with pytest.raises(
        UsageError, match=r"reward=gsm8k is for rows with data_source=openai/gsm8k; data.train has mine"
    ):
        check_verl_rows("gsm8k", {"train": VERL_ROWS})
    check_verl_rows("gsm8k", {"train": [VERL_ROWS[0] | {"data_source": "openai/gsm8k"}]})


@pytest.mark.parametrize(
    "name, found",
    [("number", {"score": 0.5, "acc": 0.5}), ("mapping", {"score": 0.5, "acc": 1.0, "length": 3})],
)
def test_verl_gets_a_score_and_an_accuracy_from_a_number_or_a_mapping(rewards, name, found):
    assert compute_score("mine", "x", "1", None, reward=f"{rewards}:{name}") == found


def test_what_is_no_score_is_named_with_the_function(rewards):
    with pytest.raises(ValueError, match=r"rewards.py:nothing_at_all gave None; it must be a finite number"):
        compute_score("mine", "x", "1", None, reward=f"{rewards}:nothing_at_all")


def test_a_users_rows_reach_verl_as_they_are(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = [VERL_ROWS[0] | {"prompt": [{"role": "user", "content": str(n)}], "extra_info": {"n": n}} for n in range(4)]
    prompts = prompts_of(read_own("verl", write(tmp_path / "train.jsonl", rows), share=0.25))
    files = to_verl(prompts, tmp_path / "out")
    written = [row for split in ("train", "validation") for row in pyarrow.parquet.read_table(files[split]).to_pylist()]
    assert sorted(written, key=prompt_key) == rows
