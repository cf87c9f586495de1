"""Run one job, or many with --multirun or reproduce=<task>; see configs/train.yaml."""

from __future__ import annotations

from typing import Any

import hydra
from omegaconf import DictConfig

from tasks.engine.launch import launch


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg: DictConfig) -> dict[str, Any]:
    # imported here, so that the process that only launches jobs, and one with a wrong config, need not load torch
    from tasks.engine import given
    from tasks.engine.config import resolve
    from tasks.engine.errors import JobFailedError

    given.check(cfg)
    resolve(cfg)
    from tasks.engine.job import run_job

    result = run_job(cfg)
    if result["status"] == "failed":
        raise JobFailedError("at least one job failed; the messages above say why.")
    return result


if __name__ == "__main__":
    launch(main)
