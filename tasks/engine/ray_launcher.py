"""hydra/launcher=ray: every job of a sweep is a Ray task.

(Hydra's own plugin for Ray pins a cloudpickle that joblib does not take.)
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from tasks.engine.errors import ConfigError, JobFailedError

LAST_LINES_SECONDS = 1.0  # for what the jobs print to arrive here


class RayLauncher(Launcher):
    """Runs the jobs as Ray has room for them; a job whose process or node dies is started again and goes on.

    Args:
        init: options of ray.init; remote: options of ray.remote (configs/hydra/launcher/ray.yaml).
    """

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        self.init, self.remote = _plain(init), _plain(remote)
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context, self.task_function = config, hydra_context, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs, whatever becomes of some. Raises ConfigError without Ray, or where it cannot be reached."""
        assert self.config is not None and self.hydra_context is not None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers unasked
        try:
            import ray
        except ImportError as error:
            raise ConfigError("hydra/launcher=ray needs Ray: pip install -e '.[cluster]'.") from error
        setup_globals()
        try:
            ray.init(**self.init)
        except (ConnectionError, ValueError) as error:
            raise ConfigError(f"hydra.launcher.init={self.init} does not start or reach a Ray: {error}") from error
        try:
            start = ray.remote(**self.remote)(_run)
            context, task = ray.put(self.hydra_context), ray.put(self.task_function)
            jobs = []
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
                with open_dict(config):
                    config.hydra.job.id, config.hydra.job.num = f"job_{number}", number
                named = start.options(name=" ".join(overrides))  # stands before each line that the job prints
                jobs.append((overrides, named.remote(context, task, config)))
            return [self._result(ray, overrides, job) for overrides, job in jobs]
        finally:
            time.sleep(LAST_LINES_SECONDS)
            ray.shutdown()

    def _result(self, ray: Any, overrides: Sequence[str], job: Any) -> JobReturn:
        try:
            result: JobReturn = ray.get(job)
        except ray.exceptions.RayError as error:  # the process is lost, and with it what it could have said
            reason = (str(error).splitlines() or [""])[0]
            lost = JobFailedError(
                f"Ray lost a job ({type(error).__name__}: {reason}) and has started it again "
                f"hydra.launcher.remote.max_retries={self.remote.get('max_retries')} times. Run the same command "
                "again: finished jobs are skipped, the others go on from their last checkpoints."
            )
            return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=lost)
        return result


def register() -> None:
    """Make Hydra know the launcher: it takes plugins from modules below `hydra_plugins` only."""
    sys.modules["hydra_plugins.fpi"] = sys.modules[__name__]
    RayLauncher.__module__ = "hydra_plugins.fpi"
    Plugins.instance().register(RayLauncher)


def _run(context: HydraContext, task: TaskFunction, config: DictConfig) -> JobReturn:
    """A job, in a process of Ray."""
    setup_globals()
    HydraConfig.instance().set_config(config)
    return run_job(
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=context,
    )


def _plain(options: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(options, resolve=True)  # type: ignore[return-value]
