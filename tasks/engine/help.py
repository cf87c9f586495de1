"""What can be run: the text of `scripts/train.py --help`, and what its shell completion offers beside Hydra's own."""

from __future__ import annotations

import re
from pathlib import Path

from tasks.engine.cli import task_names
from tasks.engine.config import experiments
from tasks.engine.store import ROOT

CONFIGS = ROOT / "configs"
SENTENCE = re.compile(r".*?\.(?=\n|$| [A-Z`])", re.DOTALL)  # "et al. 2021" does not end one

USAGE = """\
One job: one row of a table, one protocol, one seed.
  python scripts/train.py experiment=TASK/ROW [protocol=paper|honest] [seed=0] [profile=sample] [key=value ...]
Many jobs: `--multirun experiment=a,b seed=0,1,2`, or a whole task with its report:
  python scripts/reproduce.py TASK [profile=...] [--dry-run]
"""
MORE = """\
`--cfg job` prints every key of a job with its value, `--hydra-help` Hydra's own options.
Completion in the shell: eval "$(python scripts/train.py --shell-completion install=bash)"   (zsh, fish: likewise)"""


def text() -> str:
    """Tasks with their rows, and profiles, each with the first sentence of its config's header."""
    parts = [USAGE]
    for task in task_names():
        parts += [f"{task}: {_title(CONFIGS / 'task' / f'{task}.yaml')}"]
        names = experiments(task)
        width = max(map(len, names))
        parts += [f"  {name:{width}}  {_title(CONFIGS / 'experiment' / f'{name}.yaml')}" for name in names] + [""]
    profiles = sorted((CONFIGS / "profile").glob("*.yaml"))
    width = max(len(path.stem) for path in profiles)
    parts += ["profiles:", *(f"  {path.stem:{width}}  {_title(path)}" for path in profiles), "", MORE]
    return "\n".join(parts)


def complete_rows() -> None:
    """Make Hydra's shell completion offer `experiment=TASK/ROW` and its like: of itself it lists one folder deep."""
    from hydra._internal.config_repository import ConfigRepository
    from hydra.core.object_type import ObjectType

    listed = ConfigRepository.get_group_options

    def options(
        self: ConfigRepository, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG
    ) -> list[str]:
        found = listed(self, group_name, results_filter)
        folder = CONFIGS / group_name
        if results_filter != ObjectType.CONFIG or not group_name or not folder.is_dir():
            return found
        return sorted({*found, *(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))})

    ConfigRepository.get_group_options = options  # type: ignore[method-assign]


def _title(path: Path) -> str:
    """The first sentence of a config's comments."""
    lines = (line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    text = "\n".join(line for line in lines if not line.startswith("@"))
    sentence = SENTENCE.match(text)
    return " ".join((sentence[0] if sentence else text).split())
