"""All of GSM8K, where ``JFHPO_GSM8K`` names a folder with its ``train.jsonl`` and ``test.jsonl``."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest

from jfhpo.tasks.datasets import DATASETS, load, reward

FOLDER = os.environ.get("JFHPO_GSM8K")
pytestmark = pytest.mark.skipif(not FOLDER, reason="JFHPO_GSM8K names no folder with GSM8K")


def raw() -> list[dict]:
    return [json.loads(line) for split in ("train", "test") for line in (Path(FOLDER) / f"{split}.jsonl").open()]


def test_every_row_is_in_one_split_and_none_is_lost():
    prompts = load("gsm8k", FOLDER)
    assert {split: len(rows) for split, rows in prompts.splits.items()} == {
        "train": 6726,
        "validation": 747,
        "test": 1319,
    }
    assert {(o.repeated, o.held_out) for o in prompts.overlaps.values()} == {(0, 0)}


def test_every_worked_answer_is_right_and_every_other_number_wrong():
    rows = [row for split in load("gsm8k", FOLDER).splits.values() for row in split]
    gold_of = {row.prompt: row.answer for row in rows}
    answers = [row.answer for row in rows]
    checked_wrong = 0
    for item, other in zip(raw(), answers[1:] + answers[:1], strict=True):
        gold = gold_of[f"{item['question']}{DATASETS['gsm8k'].instruction}"]
        for extraction in ("strict", "flexible"):
            assert reward("gsm8k", item["answer"], gold, extraction) == 1.0
            assert reward("gsm8k", f"The answer is {gold}.", gold, extraction) == float(extraction == "flexible")
            for wrong in (f"{gold}0", f"1{gold.lstrip('-')}", f"-{gold}".replace("--", ""), str(Fraction(gold) + 1)):
                same = Fraction(wrong) == Fraction(gold)  # -0, and 0 for 00
                assert reward("gsm8k", f"#### {wrong}", gold, extraction) == float(same)
                checked_wrong += not same
            assert reward("gsm8k", f"#### {other}", gold, extraction) == float(Fraction(other) == Fraction(gold))
    assert checked_wrong > 60_000


def test_thousands_separators_and_decimals_change_nothing():
    for row in (row for split in load("gsm8k", FOLDER).splits.values() for row in split):
        assert reward("gsm8k", f"#### {int(row.answer):,}.00 in all", row.answer) == 1.0
