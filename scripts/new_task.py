"""Create a task from scripts/templates/task: python scripts/new_task.py NAME.

The new task trains at once; its package, configs, claims, figures and test are then yours to change.
"""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

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


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python scripts/new_task.py NAME", file=sys.stderr)
        return 1
    name = sys.argv[1]
    try:
        files = create(name)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in files:
        print(path.relative_to(ROOT))
    print(f"results/paper.yaml and Makefile: an entry each\nnext: make reproduce-{name} PROFILE=smoke")
    return 0


if __name__ == "__main__":
    sys.exit(main())
