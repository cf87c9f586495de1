"""Create a task from scripts/templates/task: python scripts/new_task.py NAME.

The new task trains at once; its package, configs, claims, figures and test are then yours to change.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from pathlib import Path

from tasks.engine.cli import Script, exit_with
from tasks.engine.errors import ConfigError

SCRIPT = Script(
    "new_task.py",
    "Create a task that trains at once; NAME is its package: lower-case letters, digits and '_'.",
    words="NAME",
)
ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = Path(__file__).parent / "templates" / "task"
PLACEHOLDER = "task_template"
APPEND = "append"  # the folder of the template whose files go to the end of existing ones
NAME = re.compile(r"[a-z][a-z0-9_]*")


def create(name: str, root: Path = ROOT) -> list[Path]:
    """Write the task and return its files; results/paper.yaml and the Makefile's help get an entry.

    Raises:
        ValueError: the name is not a lower-case Python name, or is taken. Nothing has been written.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or name == PLACEHOLDER:
        raise ValueError(f"'{name}' cannot name a task: choose lower-case letters, digits and '_', as in optical_flow.")
    files = {}
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        target = root / str(source.relative_to(TEMPLATE)).replace(PLACEHOLDER, name)
        files[target] = source.read_text(encoding="utf-8").replace(PLACEHOLDER, name)
    added = {path: text for path, text in files.items() if path.is_relative_to(root / APPEND)}
    files = {path: text for path, text in files.items() if path not in added}
    if (root / "tasks" / name).exists() or any(path.exists() for path in files):
        taken = next((path for path in files if path.exists()), root / "tasks" / name)
        raise ValueError(f"there is a task {name} already ({taken}): choose another name.")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path, text in added.items():
        existing = root / path.relative_to(root / APPEND)
        existing.write_text(existing.read_text(encoding="utf-8").rstrip("\n") + "\n" + text, encoding="utf-8")
    makefile = root / "Makefile"
    entry = f"reproduce-{name}: ## Reproduce {name}\nreproduce-%: setup"
    makefile.write_text(makefile.read_text(encoding="utf-8").replace("reproduce-%: setup", entry, 1), encoding="utf-8")
    return list(files)


def main(arguments: Sequence[str]) -> int:
    words, _ = SCRIPT.parse(arguments)
    if len(words) != 1:
        raise ConfigError(SCRIPT.usage)
    (name,) = words
    for path in create(name):
        print(path.relative_to(ROOT))
    print(f"results/paper.yaml and Makefile: an entry each\nnext: make reproduce-{name} PROFILE=smoke")
    return 0


if __name__ == "__main__":
    exit_with(main)
