"""Imports point down only: scripts -> tasks -> tasks.engine -> fpi -> torch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = "tasks.engine"


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Every module that `source`, the text of `module`, imports at any depth, as absolute dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            if node.level:
                base = base[: len(base) - node.level + is_package]
                base += node.module.split(".") if node.module else []
            else:
                base = (node.module or "").split(".")
            # `from tasks import toy` imports tasks.toy: names count as modules, too
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def violation(module: str, imported: str) -> str | None:
    """Why `module` may not import `imported`, or None."""
    if is_in(module, "fpi"):
        top = imported.split(".")[0]
        return None if top in {"fpi", "torch"} | sys.stdlib_module_names else "fpi imports only torch and itself"
    if is_in(imported, "scripts") or is_in(imported, "tests"):
        return "tasks import neither scripts nor tests"
    if is_in(imported, "tasks") and imported != "tasks" and not is_in(imported, ENGINE):
        if is_in(module, ENGINE):
            return "tasks.engine imports no task"
        if imported.split(".")[1] != module.split(".")[1]:
            return "a task imports no other task"
    return None


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ["fpi", "tasks"])
def test_imports_point_down(package: str) -> None:
    assert sources(package)
    bad = []
    for path in sources(package):
        relative = path.relative_to(ROOT).with_suffix("")
        is_package = relative.name == "__init__"
        module = ".".join(relative.parts[:-1] if is_package else relative.parts)
        for name in sorted(imports(path.read_text(encoding="utf-8"), module, is_package)):
            if reason := violation(module, name):
                bad.append(f"{path.relative_to(ROOT)} imports {name}: {reason}")
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fpi.layers", "import numpy"),
        ("fpi.layers", "from tasks.engine import job"),
        ("fpi.layers", "def f():\n    import hydra"),
        ("tasks.toy.models", "from tasks.bibtex import data"),
        ("tasks.toy.models", "from ..bibtex.data import load"),
        ("tasks.toy.models", "from tasks import bibtex"),
        ("tasks.engine.job", "import tasks.toy.module"),
        ("tasks.toy.models", "from scripts import report"),
    ],
)
def test_a_violation_is_seen(module: str, source: str) -> None:
    assert any(violation(module, name) for name in imports(source, module))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fpi.layers", "import torch.nn as nn\nfrom .info import SolveInfo\nfrom fpi import criteria\nimport math"),
        (
            "tasks.toy.models",
            "import fpi\nfrom tasks.engine import job\nfrom ..engine import plots\nfrom . import data",
        ),
        ("tasks.engine.job", "import hydra\nfrom tasks.engine.store import Run\nimport fpi"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert not any(violation(module, name) for name in imports(source, module))
