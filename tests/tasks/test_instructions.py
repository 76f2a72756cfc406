"""Instructions: four tasks in one text task; Alpaca and Dolly carved so that no instruction is on two sides."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets.splits import question_key
from jfhpo.tasks.instructions import material, published
from jfhpo.tasks.instructions.generated import TEXT_TASKS, WORDS, Instructions
from jfhpo.tasks.text_task import Corruption, TextTask

TASK = Instructions()
SIZES = {"train": 300, "validation": 100, "test": 100}


def questions(count, seed=0):
    rng = random.Random(seed)
    return [TASK.draw(rng) for _ in range(count)]


# -- the generated set


def test_every_task_is_asked_as_often_as_another_and_in_its_own_word():
    counts = Counter(name for name, _ in questions(4000))
    assert set(counts) == set(TASKS) == set(WORDS)
    assert all(900 < n < 1100 for n in counts.values())
    for name, question in questions(200):
        prompt = TASK.prompt((name, question))
        assert len(prompt) == TASK.prompt_length
        assert prompt.strip() == WORDS[name] + TASKS[name].prompt(question).strip()
        assert TASK.answer((name, question)) == TASKS[name].answer(question)


def test_the_alphabet_is_tight_and_solutions_fit_and_are_right():
    rng, text = random.Random(0), ""
    for question in questions(2000):
        clean = TASK.solution(question)
        assert TextTask.check(clean, TASK.answer(question)) == 1.0 and TASK.solution(question) == clean
        worked = TASK.work(question, rng, Corruption(0.3, 0.3))
        assert len(worked) < TASK.completion_length and len(clean) < TASK.completion_length
        text += TASK.prompt(question) + worked
    assert set(text) == set(TASK.alphabet) and len(set(TASK.alphabet)) == len(TASK.alphabet)


def test_splits_are_those_of_every_text_task():
    assert TASK.splits(SIZES) == TextTask.splits(TASK, SIZES)
    prompts = [e.prompt for split in TASK.splits(SIZES).values() for e in split]
    assert len(set(prompts)) == len(prompts) == 500
    assert set(TEXT_TASKS) == {*TASKS, "instructions"}


def test_pairs_to_learn_pairs_to_measure_and_questions_are_apart(monkeypatch):
    monkeypatch.setattr(material, "SIZES", SIZES)
    found = material.load("instructions", {})
    held_out = {prompt for prompt, _ in found.validation} | set(found.questions["test"].prompts)
    assert not held_out & {prompt for prompt, _ in found.train} and len(held_out) == 200
    assert list(found.questions["validation"].prompts) == [prompt for prompt, _ in found.validation]
    for (_, response), answer in zip(found.validation, found.questions["validation"].answers, strict=True):
        assert found.right(response, answer) and not found.right(response + "0", answer)
    assert not found.right("0" * (TASK.completion_length - 2) + "#7", "7")  # cut: no room for the end


# -- Alpaca and Dolly


def lines(path, rows):
    path.mkdir()
    (path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def alpaca(instruction, given="", output="done"):
    return {"instruction": instruction, "input": given, "output": output, "text": "…"}


def dolly(instruction, context="", response="done"):
    return {"instruction": instruction, "context": context, "response": response, "category": "open_qa"}


@pytest.fixture
def folders(tmp_path):
    a = [alpaca(f"Name a bird, number {n}") for n in range(40)]
    a += [alpaca("Name a bird, number 3", output="again"), alpaca("Sum up", "a text"), alpaca("Empty", output=" ")]
    d = [dolly(f"What is {n}?", response=f"It is {n}.") for n in range(30)] + [dolly("name a  bird, number 5")]
    return {"alpaca": lines(tmp_path / "alpaca", a), "dolly": lines(tmp_path / "dolly", d)}


def test_both_sets_are_read_in_alpacas_words_and_repetitions_are_dropped(folders):
    found = published.load("alpaca_dolly", folders, share=0.2)
    # 74 rows: number 3 comes twice in Alpaca, number 5 once more in Dolly in other case and spacing, one is empty
    assert (found.rows, found.repeated, found.empty) == (74, 2, 1)
    assert len(found.train) + len(found.validation) == 71 and len(found.validation) == 14
    shown = {row.prompt: row.answer for row in found.train + found.validation}
    assert shown[published.WITH_INPUT.format(instruction="Sum up", input="a text")] == "done"
    assert shown[published.WITHOUT_INPUT.format(instruction="What is 7?")] == "It is 7."
    assert shown[published.WITHOUT_INPUT.format(instruction="Name a bird, number 3")] == "done"  # the first one


def test_no_instruction_is_on_two_sides_and_the_split_is_the_seeds(folders):
    found = published.load("alpaca_dolly", folders, share=0.3)
    assert not {question_key(r) for r in found.train} & {question_key(r) for r in found.validation}
    assert published.load("alpaca_dolly", folders, share=0.3) == found
    assert published.load("alpaca_dolly", folders, share=0.3, seed=1).validation != found.validation
    alone = published.load("dolly", {"dolly": folders["dolly"]})
    assert alone.rows == 31 and len(alone.validation) == 3


@pytest.mark.parametrize(
    "row, said",
    [
        ({"instruction": "Do", "input": ""}, "line 2: column 'output' must be text"),
        ({"instruction": 3, "input": "", "output": "x"}, "line 2: column 'instruction' must be text"),
        ({"instruction": " ", "input": "", "output": "x"}, "line 2: column 'instruction' is empty"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, row, said):
    with pytest.raises(UsageError) as error:
        published.load("alpaca", {"alpaca": lines(tmp_path / "a", [alpaca("Do"), row])})
    assert said in str(error.value) and "train.jsonl" in str(error.value)


def test_a_setting_that_is_none_is_named(folders):
    for task, chosen, settings, said in [
        ("alpaca_doly", {}, {}, "did you mean 'dolly'"),
        ("dolly", folders, {}, "unknown problem.data.folders 'alpaca'"),
        ("dolly", {"dolly": folders["dolly"]}, {"share": 1.0}, "problem.data.share=1.0 must lie between 0 and 1"),
    ]:
        with pytest.raises(UsageError) as error:
            published.load(task, chosen, **settings)
        assert said in str(error.value)


def test_downstream_questions_come_from_a_data_set_and_are_checked_by_its_rules(folders, tmp_path):
    rows = [{"question": f"{n} + 1?", "answer": f"So #### {n + 1}"} for n in range(30)]
    source = lines(tmp_path / "gsm8k", rows)
    (tmp_path / "gsm8k" / "test.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": "#### 2"}) + "\n")
    data = {"folders": folders, "downstream": "gsm8k", "downstream_data": {"source": source}}
    found = material.load("alpaca_dolly", data)
    asked = found.questions["test"]
    assert len(asked) == 1 and asked.answers == ["2"]
    assert asked.prompts[0].startswith("Below is an instruction") and "1 + 1?" in asked.prompts[0]
    assert found.right("I think #### 2", "2") and not found.right("I think #### 3", "2")
    assert len(found.train) + len(found.validation) == 71 and found.longest is None
