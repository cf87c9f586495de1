"""The code in the READMEs runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["README.md", "fpi/README.md", "fpi/CONTRACTION.md"])
def test_python_blocks_run(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    assert blocks
    names: dict[str, object] = {}  # a page's later blocks may use what its earlier ones define
    for block in blocks:
        exec(compile(block, page, "exec"), names)
