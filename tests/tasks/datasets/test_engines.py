"""What verl and TRL are given: their columns, files that appear whole, and rewards in their calling conventions."""

from __future__ import annotations

import json
import os
import pickle
import random

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets import DATASETS, TrlReward, compute_score, load, reward, to_trl, to_verl, write_folder
from jfhpo.tasks.text_task import Corruption, TextTask
from tests.tasks.datasets.hub_layouts import folder_of

datasets = pytest.importorskip("datasets")
pytest.importorskip("pyarrow")
SAID = {"math": "so $\\boxed{%s}$."}
MARKED = "so\n#### %s"


@pytest.fixture(params=DATASETS)
def prompts(request, tmp_path):
    if request.param == "math":
        pytest.importorskip("math_verify")
    return load(request.param, str(folder_of(request.param, tmp_path / "source")))


def read_as_verl(file, cache):
    """The line with which verl's `RLHFDataset` reads a file."""
    return datasets.load_dataset("parquet", data_files=str(file), cache_dir=str(cache))["train"]


def test_verl_reads_its_columns_and_rewards_the_ground_truth(prompts, tmp_path):
    files = to_verl(prompts, tmp_path / "verl")
    assert list(files) == ["train", "validation", "test"]
    for split, rows in prompts.splits.items():
        read = read_as_verl(files[split], tmp_path / "cache")
        assert sorted(read.column_names) == ["ability", "data_source", "extra_info", "prompt", "reward_model"]
        assert [r["prompt"] for r in read] == [[{"role": "user", "content": row.prompt}] for row in rows]
        assert [r["extra_info"] for r in read] == [{"split": split, "index": row.index, **row.notes} for row in rows]
        said = SAID.get(prompts.name, MARKED)
        for r in list(read)[:5]:
            gold = r["reward_model"]["ground_truth"]
            right = compute_score(r["data_source"], said % gold, gold, extra_info=r["extra_info"])
            assert right == {"score": 1.0, "acc": 1.0}
            assert compute_score(r["data_source"], "no idea", gold) == {"score": 0.0, "acc": 0.0}


def test_trl_reads_chat_prompts_and_its_columns_feed_the_reward(prompts):
    made = to_trl(prompts)
    assert list(made) == ["train", "validation", "test"]
    rows = made["train"].select(range(6))
    assert {"prompt", "answer", "index"} <= set(rows.column_names)
    assert rows[0]["prompt"] == [{"role": "user", "content": prompts.splits["train"][0].prompt}]
    said = SAID.get(prompts.name, MARKED)
    completions = [
        [{"role": "assistant", "content": said % gold if n % 2 else "no idea"}] for n, gold in enumerate(rows["answer"])
    ]
    # As `GRPOTrainer._calculate_rewards` calls it: every column of the data set as a list, and more of its own.
    columns = {c: rows[c] for c in rows.column_names if c != "prompt"}
    function = pickle.loads(pickle.dumps(TrlReward(prompts.name)))
    rewards = function(
        prompts=rows["prompt"], completions=completions, completion_ids=[[1]] * 6, trainer_state=None, **columns
    )
    assert rewards == [0.0, 1.0] * 3
    assert function.__name__ == f"{prompts.name}_accuracy"


def test_trl_loads_a_written_folder_by_its_name(prompts, tmp_path):
    write_folder(prompts, tmp_path / "trl", "trl")
    loaded = datasets.load_dataset(str(tmp_path / "trl"), cache_dir=str(tmp_path / "cache"))
    assert {split: loaded[split].to_list() for split in loaded} == {s: d.to_list() for s, d in to_trl(prompts).items()}


def test_a_folder_says_what_it_was_made_of(prompts, tmp_path):
    write_folder(prompts, tmp_path / "out", "verl")
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["rows"] == {split: len(rows) for split, rows in prompts.splits.items()}
    assert settings["name"] == prompts.name and settings["engine"] == "verl"
    assert settings["validation"] == ("own" if prompts.name in ("openbookqa", "mmlu") else "carved")
    again = load(prompts.name, **{k: settings[k] for k in ("source", "config", "share", "seed") if k in settings})
    assert again.splits == prompts.splits


def test_a_write_that_fails_leaves_the_old_file_and_no_folder_that_looks_complete(tmp_path, monkeypatch):
    import pyarrow.parquet

    prompts, folder = load("sorting"), tmp_path / "out"
    files = to_verl(prompts, folder)
    before = files["validation"].read_bytes()
    real, calls = pyarrow.parquet.write_table, []

    def full_disk(table, where):
        calls.append(where)
        if len(calls) == 2:
            where.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(table, where)

    monkeypatch.setattr(pyarrow.parquet, "write_table", full_disk)
    with pytest.raises(UsageError, match=r"cannot write to .*out: No space left on device"):
        to_verl(prompts, folder)
    assert files["validation"].read_bytes() == before
    assert sorted(os.listdir(folder)) == ["test.parquet", "train.parquet", "validation.parquet"]


def test_an_engine_that_is_none_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match=r"unknown engine 'vrl' \(did you mean 'verl'\?\); valid: trl, verl"):
        write_folder(load("sorting"), tmp_path / "out", "vrl")
    assert not (tmp_path / "out").exists()


# --- generated tasks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_a_generated_task_goes_through_the_same_functions_as_raw_text(name, tmp_path):
    prompts = load(name)
    trl = to_trl(prompts)["validation"]
    verl = read_as_verl(to_verl(prompts, tmp_path)["validation"], tmp_path / "cache")
    assert trl["prompt"][:] == [row.prompt for row in prompts.splits["validation"]]
    assert [r["prompt"][0]["content"] for r in verl] == trl["prompt"][:]
    answers = trl["answer"][:4]
    texts = [f"#{a}" if n % 2 else f"#{a}#" for n, a in enumerate(answers)]
    assert TrlReward(name)(prompts=trl["prompt"][:4], completions=texts, answer=answers) == [0.0, 1.0, 0.0, 1.0]
    scores = [compute_score(verl[n]["data_source"], text, answers[n])["score"] for n, text in enumerate(texts)]
    assert scores == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_text_without_end_of_sequence_is_judged_as_the_miniature_trainer_judges_tokens(task):
    """A sampled completion has at most `completion_length` tokens, and shows no end-of-sequence where it was cut."""
    rng = random.Random(0)
    for _ in range(300):
        question = task.draw(rng)
        gold = task.answer(question)
        work = task.work(question, rng, Corruption(0.3, 0.2)) + rng.choice(["", "", "#", gold])
        ended = len(work) < task.completion_length
        assert reward(task.name, work[: task.completion_length], gold) == TextTask.check(
            work[: task.completion_length], gold, ended
        )


def test_a_completion_that_was_cut_with_the_answer_complete_is_wrong_as_in_the_miniature_trainer():
    length = TASKS["last_digit"].completion_length
    assert reward("last_digit", "1" * (length - 3) + "#5", "5") == 1.0  # end-of-sequence is the last token
    assert reward("last_digit", "1" * (length - 2) + "#5", "5") == 0.0  # there was no room for it


# --- names and settings ----------------------------------------------------------------------------------------------


def test_extraction_reaches_every_form_of_the_reward():
    said = "The answer is 5."
    assert compute_score("openai/gsm8k", said, "5")["score"] == 0.0
    assert compute_score("openai/gsm8k", said, "5", extraction="flexible")["score"] == 1.0
    assert TrlReward("gsm8k")([said], ["5"]) == [0.0]
    assert TrlReward("gsm8k", "flexible")([said], ["5"]) == [1.0]


def test_a_name_or_a_setting_that_is_none_is_refused_before_the_first_step():
    with pytest.raises(UsageError, match="unknown data set 'openai/gsm8'; valid: "):
        compute_score("openai/gsm8", "", "5")
    with pytest.raises(UsageError, match="unknown data set 'gms8k'"):
        TrlReward("gms8k")
    with pytest.raises(UsageError, match="unknown extraction 'lax'; valid: flexible, strict"):
        TrlReward("gsm8k", "lax")
    with pytest.raises(UsageError, match="extraction=flexible: sorting is generated and checked strictly"):
        TrlReward("sorting", "flexible")
