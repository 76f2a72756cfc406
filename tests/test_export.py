"""``jfhpo export``: a recommendation in the words of verl and of TRL, its learning rate carried by width."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from experiments.config import identity, load
from jfhpo.cli import main
from tests.paper_figures.fake_results import FakeStudy

CONFIG = {
    "lr": 2e-4, "lr_scheduler": "cosine", "clip_ratio": 0.2, "grad_clip": 1.0, "kl_loss_coef": 0.01, "rollout_n": 8,
}  # fmt: skip


@pytest.fixture
def study(tmp_path):
    fake = FakeStudy(tmp_path, "jfhpo", 0)
    fake.config = dict(CONFIG)
    fake.finish(0.9, 0.8)
    (fake.folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(identity(load(["method=jfhpo"])))))
    return fake.folder


def test_verl_gets_overrides(study, capsys):
    assert main(["export", "--study", str(study), "--to", "verl"]) == 0
    head, *words = capsys.readouterr().out.strip().splitlines()
    assert head.startswith("# recommended by") and "model l of width 128" in head
    assert words[0] == "actor_rollout_ref.actor.optim.lr=0.0002 \\"
    assert words[-1] == "actor_rollout_ref.actor.use_kl_loss=True" and len(words) == 8


def test_trl_gets_arguments_that_python_reads(study, capsys):
    assert main(["export", "--study", str(study), "--to", "trl", "--width", "3584"]) == 0
    text = capsys.readouterr().out
    assert "carried to width 3584" in text
    found = eval(text[text.index("GRPOConfig(") :], {"GRPOConfig": dict})
    assert found == {
        "learning_rate": pytest.approx(2e-4 * 128 / 3584, rel=1e-5), "lr_scheduler_type": "cosine", "epsilon": 0.2,
        "epsilon_high": 0.2, "max_grad_norm": 1.0, "beta": 0.01, "num_generations": 8,
    }  # fmt: skip


@pytest.mark.parametrize("engine", ["verl", "trl"])
def test_what_grpovi_takes_besides_is_said(study, engine, capsys):
    records = study / "records.jsonl"
    records.write_text(records.read_text().replace('"rollout_n": 8', '"rollout_n": 8, "advantage": "grpovi"'))
    assert main(["export", "--study", str(study), "--to", engine]) == 0
    assert (
        f"# advantage=grpovi takes more than these words: jfhpo/trainers/{engine}/grpovi.py" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "words, said",
    [
        (["--to", "verk"], "unknown engine 'verk' (did you mean 'verl'?)"),
        (["--to", "verl", "--width", "0"], "width=0 must be"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(study, words, said, capsys):
    assert main(["export", "--study", str(study), *words]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_a_study_or_without_a_recommendation_is_said_so(tmp_path, capsys):
    assert main(["export", "--study", str(tmp_path), "--to", "trl"]) == 2
    assert "holds no study" in capsys.readouterr().err
    begun = FakeStudy(tmp_path, "jfhpo", 1).folder
    assert main(["export", "--study", str(begun), "--to", "trl"]) == 2
    assert "has not recommended anything yet" in capsys.readouterr().err
