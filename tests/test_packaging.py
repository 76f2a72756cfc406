"""What a newcomer's machine reads first: pyproject.toml, environment.yml, run_all.sh and the README agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def requirements() -> dict[str, Requirement]:
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL).group(1)
    found = [Requirement(quoted) for quoted in re.findall(r'"([^"]+)"', listed)]
    return {r.name: r for r in found}


def test_the_conda_environment_installs_what_run_all_installs():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    torch = Requirement(next(p for p in pip if p.startswith("torch")))
    assert f"torch{torch.specifier}" in (ROOT / "run_all.sh").read_text()
    assert "-e .[baselines,dev,trl]" in pip
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert python in ("python=3.10", "python=3.11", "python=3.12")


def test_the_torch_of_the_set_up_satisfies_the_package():
    version = re.search(r"torch==([\d.]+)", (ROOT / "run_all.sh").read_text()).group(1)
    assert Version(version) in requirements()["torch"].specifier


def test_the_running_environment_satisfies_the_package():
    import importlib.metadata

    for name, requirement in requirements().items():
        installed = Version(Version(importlib.metadata.version(name)).base_version)
        assert installed in requirement.specifier, f"{name} {installed} is not {requirement}"


def test_run_all_explains_itself_without_setting_anything_up():
    done = subprocess.run(["bash", "run_all.sh", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for command in ("./run_all.sh smoke", "./run_all.sh test", "./run_all.sh setup"):
        assert command in done.stdout


def test_the_readme_names_only_files_that_exist():
    tree = (ROOT / "README.md").read_text().split("## Where things are")[1]
    named = re.findall(r"^([\w./]+)\s{2,}", tree, re.MULTILINE)
    assert len(named) > 10
    assert [n for n in named if not (ROOT / n).exists()] == []
