"""A dry run: the very jobs that the sweep would start, what is there of them, and their times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import plan, reproduce, store
from tasks.engine.config import experiments


def test_the_jobs_are_those_of_the_sweep(tmp_path: Path) -> None:
    jobs, at_a_time = plan.jobs(["reproduce=bibtex", "profile=smoke", "hydra.launcher.n_jobs=3"], tmp_path)
    assert len(jobs) == len(experiments("bibtex")) * 2 * 3 and at_a_time == 3
    assert jobs[0].overrides == ("experiment=bibtex/fpi_gd", "protocol=paper", "seed=0")
    assert jobs[4].directory == tmp_path / "smoke/bibtex/fpi_gd-honest/seed1" and jobs[4].state == "new"
    assert len({job.directory for job in jobs}) == len(jobs)


def test_what_is_chosen_on_the_command_line_replaces_the_sweep(tmp_path: Path) -> None:
    sweep = ["reproduce=denoising", "profile=smoke", "experiment=denoising/nlm,denoising/fpi_nn", "seed=7"]
    jobs, _ = plan.jobs(sweep, tmp_path)
    rows = [f"{row}_s{sigma}" for row in ("nlm", "fpi_nn") for sigma in (15, 20, 25)]
    assert {job.directory.parent.name for job in jobs} == {*rows, *(f"{row}-honest" for row in rows)}
    assert {job.directory.name for job in jobs} == {"seed7"}  # and composed names (row_s<sigma>) are resolved


def test_states_and_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in ((0, "run.json"), (1, "last.ckpt"), (2, "failed.json")):
        directory = tmp_path / f"smoke/toy/box/seed{seed}"
        directory.mkdir(parents=True)
        run = {"row": "box", "protocol": "none", "seed": 0, "seconds": 300.0, "env": {"hardware": "a CPU"}}
        store.write_json(directory / name, run)
    jobs, _ = plan.jobs(["reproduce=toy", "profile=smoke", "experiment=toy/box,toy/linear"], tmp_path, tmp_path)
    assert [job.state for job in jobs] == ["done", "begun", "failed", "new", "new", "new"]
    assert [job.expected and job.expected.seconds for job in jobs] == [300.0] * 3 + [None] * 3
    plan.show(jobs, 2)
    text = " ".join(capsys.readouterr().out.split())
    assert "toy/box 0 1 2 1 done, 1 begun, 1 failed 5 min this row here" in text
    end = "6 jobs, 1 done, 5 to run: about 5 min, 2 at a time, and 3 jobs that were never measured (measured on a CPU)"
    assert text.endswith(end)


def test_rays_jobs_at_a_time(tmp_path: Path) -> None:
    ray = ["hydra/launcher=ray", "hydra.launcher.init.num_cpus=8", "hydra.launcher.remote.num_cpus=3"]
    jobs, at_a_time = plan.jobs(["reproduce=toy", "profile=smoke", "experiment=toy/box", *ray], tmp_path, tmp_path)
    assert len(jobs) == 3 and at_a_time == 2


@pytest.mark.parametrize("flag", ["--dry-run", "dry_run=true"])
def test_a_dry_run_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    monkeypatch.setattr(reproduce.subprocess, "run", lambda *_, **__: pytest.fail("a job was started"))
    given = ["toy", "profile=smoke", flag, f"results_dir={tmp_path}", "experiment=toy/box"]
    assert reproduce.main(given) == 0
    assert "1 jobs, 0 done, 1 to run" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
