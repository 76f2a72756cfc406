"""The published numbers as kept here, against the facts they were taken from and against themselves."""

from __future__ import annotations

import pytest

from jfhpo.core.errors import UsageError
from paper_figures import published

PAPERS = {"grpovi_search": "2505.23247", "lora_tuning": "2312.00949"}
"""Tables of other papers than JF-HPO's."""


def test_every_row_says_where_it_is_from_and_how_sure_it_is():
    assert published.NAMES == (
        "ablation",
        "accuracy",
        "efficiency",
        "grpovi_search",
        "lora_tuning",
        "other",
        "transfer",
    )
    for name in published.NAMES:
        frame = published.load(name)
        assert frame["source"].str.contains(PAPERS.get(name, "2606.03073")).all()
        assert set(frame["confidence"]) <= set(published.CONFIDENCE)


def test_table_2():
    table = published.load("accuracy").set_index(["model", "method"])
    assert len(table) == 8
    assert table.loc[("Qwen-2.5 7B", "JF-HPO"), "average"] == 79.65
    assert table.loc[("LLaMA-3.1 8B", "BOHB"), "math"] == 48.62
    assert table.loc[("Qwen-3 14B", "VeRL Recipe"), "gsm8k"] == 93.03
    means = table[["gsm8k", "math", "openbookqa", "mmlu"]].mean(axis=1)
    assert (means - table["average"]).abs().max() < 0.0051


def test_published_speedups_are_ratios_of_published_hours():
    for _, rows in published.load("efficiency").groupby("model"):
        rows = rows.set_index("method")
        ratios = rows.loc["Random Search", "hours_per_trial"] / rows["hours_per_trial"]
        assert (ratios - rows["speedup"]).abs().max() < 0.051
    jfhpo = published.efficiency("jfhpo")
    assert dict(zip(jfhpo["model"], jfhpo["speedup"], strict=True)) == {"Qwen-2.5 7B": 14.9, "LLaMA-3.1 8B": 9.1}


def test_ablation_and_transfer():
    ablation = published.load("ablation").set_index("variant")["accuracy"]
    assert ablation.to_dict() == {
        "full": 88.17, "without proxy": 86.88, "without checkpoint reuse": 84.84, "without early stopping": 86.35,
    }  # fmt: skip
    transfer = published.load("transfer").set_index("quantity")["value"]
    assert (transfer["spearman"], transfer["kendall"]) == (0.90, 0.80)


def test_means_over_models_are_over_the_same_models_for_every_method():
    assert published.common_models() == ["LLaMA-3.1 8B", "Qwen-2.5 7B"]
    assert published.accuracy("jfhpo") == pytest.approx((72.97 + 79.65) / 2)
    assert published.accuracy("recipe") == pytest.approx((58.63 + 75.92) / 2)
    assert published.accuracy("random_search") is None
    assert published.accuracy("nomad") is None


def test_what_was_inferred_here_is_never_quoted():
    assert (published.load("other")["confidence"] == "inferred").any()
    assert not (published.quotable("other")["confidence"] == "inferred").any()


def test_an_unknown_table_names_the_known_ones():
    with pytest.raises(UsageError, match="did you mean 'ablation'"):
        published.load("ablations")
