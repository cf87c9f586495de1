"""The code version: commit, dirty state, or neither without git."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tasks.engine import environment


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("a = 1\n")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-q", "-m", "a")
    return tmp_path


def test_a_clean_tree_is_its_commit(repository: Path) -> None:
    assert environment.git_state(repository) == {"commit": git(repository, "rev-parse", "HEAD"), "dirty": None}


def test_every_change_has_its_own_hash(repository: Path) -> None:
    states = []
    for text in ("a = 2\n", "a = 3\n"):
        (repository / "a.py").write_text(text)
        states.append(environment.git_state(repository)["dirty"])
    (repository / "new.py").write_text("b = 1\n")
    states.append(environment.git_state(repository)["dirty"])
    assert None not in states and len(set(states)) == 3


@pytest.mark.parametrize("case", ["no repository", "a folder of another repository", "no git"])
def test_without_a_repository_of_its_own_there_is_no_commit(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    root = repository
    if case == "no repository":
        root = tmp_path_factory.mktemp("bare")
    elif case == "no git":
        monkeypatch.setenv("PATH", "")
    else:
        (root := repository / "inner").mkdir()
    assert environment.git_state(root) == {"commit": None, "dirty": None}


def test_the_environment_names_versions_and_hardware_but_not_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret-key-0123")
    environment.environment.cache_clear()
    content = environment.environment()
    assert content["packages"]["torch"].startswith("2.") and "core" in content["hardware"]
    assert os.uname().nodename not in str(content) and "secret-key-0123" not in str(content)


def test_every_package_of_the_suite_is_recorded_without_an_import() -> None:
    assert {"torch", "torchvision", "hydra-joblib-launcher", "opencv-python-headless", "h5py"} <= set(
        environment.declared()
    )
    environment.environment.cache_clear()
    packages = environment.environment()["packages"]
    assert packages["omegaconf"] == metadata.version("omegaconf")
    assert packages["torch"] == metadata.version("torch") and packages.keys() == set(environment.declared())
    assert environment._version("no-such-package") is None
    code = "import sys; from tasks.engine.environment import environment; environment(); "
    code += "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=environment.ROOT, check=True)
