"""Run one job, or many with --multirun or reproduce=<task>; see configs/train.yaml."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg: DictConfig) -> dict:
    from tasks.engine.errors import JobFailedError
    from tasks.engine.job import run_job  # here, so that the launching process stays small

    result = run_job(cfg)
    if result["status"] == "failed":
        raise JobFailedError("At least one job failed: see the messages above.")
    return result


if __name__ == "__main__":
    main()
