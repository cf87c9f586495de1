"""SIGTERM and SIGUSR1: the epoch is saved, the job ends and is queued again, and goes on as if undisturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tasks.engine import job, preempt, store
from tasks.engine.job import run_job
from tests.e2e.test_train import command, environ, train
from tests.e2e.tiny import MARK, ROOT, config

EPOCHS = 60


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_preempted_job_saves_queues_itself_and_goes_on(tmp_path: Path, signum: signal.Signals) -> None:
    fake = tmp_path / "bin" / "scontrol"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    fake.chmod(0o755)
    ended = tmp_path / "an-epoch-ended"
    slurm = {**environ(), MARK: str(ended), "SLURM_JOB_ID": "17", "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    given = ("experiment=tiny/good", f"trainer.max_epochs={EPOCHS}", "method.delay=0.05", "logger=csv")
    job = tmp_path / "results/sample/tiny/good/seed0"
    process = subprocess.Popen(
        command(*given, "trainer.checkpoint_seconds=1000", f"results_dir={tmp_path / 'results'}"),
        **{"cwd": ROOT, "env": slurm, "stdout": subprocess.PIPE, "text": True},
    )
    deadline = time.monotonic() + 120
    while not ended.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signum)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 128 + signum, said
    assert f"stopped by {signum.name}" in said and "Slurm job 17 queued again" in said
    assert (tmp_path / "asked").read_text() == "requeue 17\n"
    assert not (job / "failed.json").exists() and not (job / "run.json").exists()
    epoch = torch.load(job / "last.ckpt", weights_only=True)["epoch"]  # although it was not yet time to write it
    assert 0 < epoch < EPOCHS

    again = train(*given, f"results_dir={tmp_path / 'results'}")
    assert again.returncode == 0 and f"from epoch {epoch}" in again.stdout
    run_job(
        config(f"trainer.max_epochs={EPOCHS}", "method.delay=0.05", f"results_dir={tmp_path / 'whole'}", "logger=csv")
    )
    runs = [store.read_json(tmp_path / name / "sample/tiny/good/seed0/run.json") for name in ("results", "whole")]
    assert runs[0] and runs[1] and runs[0]["metrics"] == runs[1]["metrics"]


def test_a_job_that_ends_before_it_can_obey_is_the_last_of_its_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"status": "done"}

    monkeypatch.setattr(job, "_train", train)
    jobs = [config(f"seed={seed}", f"results_dir={tmp_path}", "logger=csv") for seed in range(3)]
    assert job.run_job(jobs[0])["status"] == "done"
    with pytest.raises(preempt.Preempted) as stopped:
        job.run_job(jobs[1])
    assert stopped.value.code == 128 + signal.SIGTERM
    assert job.run_job(jobs[2])["status"] == "done"  # it was obeyed once
    with pytest.raises(preempt.Preempted):
        job.run_job(jobs[1])


def test_a_launchers_own_handler_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("launcher"))
    try:
        with preempt.listening() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == ["launcher"] and stop.signum is None
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop.signum == signal.SIGUSR1
            with pytest.raises(preempt.Preempted):  # else it would stand for the next job of this process
                stop.obey()
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_slurm_nothing_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(preempt.subprocess, "run", lambda *_, **__: pytest.fail("a command was run"))
    preempt.queue_again()
