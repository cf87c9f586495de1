"""The public API: documented, importable from `fpi`, and rendered by `make docs`."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fpi


@pytest.mark.parametrize("name", fpi.__all__)
def test_every_public_name_says_what_it_does(name: str) -> None:
    thing = getattr(fpi, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing)):
        return  # a type alias
    assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), "a dataclass without a docstring of its own"


def test_the_reference_is_built_from_the_docstrings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pdoc", "fpi", "--docformat", "google", "--output-directory", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=Path(__file__).parents[2])
    page = (tmp_path / "fpi.html").read_text(encoding="utf-8")
    missing = [name for name in fpi.__all__ if name != "contraction" and f'id="{name}"' not in page]
    assert not missing
    assert ":class:" not in page and ":func:" not in page
