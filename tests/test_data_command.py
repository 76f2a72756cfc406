"""``jfhpo data``: what it prints, what it writes, and that a mistake is one line and exit code 2."""

from __future__ import annotations

import pytest

from jfhpo.cli import main
from tests.tasks.datasets.hub_layouts import folder_of

pytest.importorskip("pyarrow")


def test_it_checks_writes_and_says_what_is_in_a_data_set(tmp_path, capsys):
    source = str(folder_of("gsm8k", tmp_path / "source"))
    assert main(["data", "gsm8k", "--source", source, "--to", "verl", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for split, rows in (("train", 36), ("validation", 4), ("test", 10)):
        line = next(line for line in printed.splitlines() if f" {split} " in line)
        assert f" {rows} " in line and "characters" in line
        assert (tmp_path / "out" / f"{split}.parquet").stat().st_size > 0
    assert "written for verl" in printed


def test_without_to_it_only_checks(tmp_path, capsys):
    source = folder_of("math", tmp_path / "source")
    assert main(["data", "math", "--source", str(source), "--share", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" 20 ") == 2 and "written" not in printed
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["gms8k"], "error: unknown data set 'gms8k' (did you mean 'gsm8k'?)"),
        (["sorting", "--to", "verl"], "error: --to (verl or trl) and --out (a folder) belong together"),
        (["sorting", "--to", "verk", "--out", "out"], "error: unknown engine 'verk' (did you mean 'verl'?)"),
        (["gsm8k", "--source", "./none"], "error: no file or folder ./none"),
        (["gsm8k", "--share", "2"], "error: share=2.0 must lie between 0 and 1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, why, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(why) and printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["data", "--help"])
    assert ended.value.code == 0
    assert "jfhpo data gsm8k --source" in capsys.readouterr().out
