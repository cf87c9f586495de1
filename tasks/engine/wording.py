"""How the record is put into words: numbers with their interval, short names, the order of tables and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

HEADINGS = {"none": "Ours", "paper": "Ours, paper's protocol", "honest": "Ours, honest protocol"}
NOTES = {
    "paper": "Paper's protocol: as published, the epoch is selected on the test set.",
    "honest": "Honest protocol: selection on held-out training data, the test set is touched once.",
}


def plus_minus(mean: float | None, half: float | None, n: int) -> str:
    """`mean ± half (n)`; two decimals from 1 on; below, as many as show three digits of the mean."""
    if mean is None:
        return f"not finite ({n})"
    if 0 < abs(mean) < 1e-6:
        return f"{mean:.2e}{'' if half is None else f' ± {half:.1e}'} ({n})"
    digits = 2 if mean == 0 or abs(mean) >= 1 else min(8, 2 - math.floor(math.log10(abs(mean))))
    interval = "" if half is None else f" ± {half:.{digits}f}"
    return f"{mean:.{digits}f}{interval} ({n})"


def short(metric: str) -> str:
    """A metric's name in a table: of the test set unless it says otherwise."""
    return metric.rpartition("/")[2] if metric.startswith("test/") else metric


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key with numbers in their order: figure5.2 before figure5.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def owner(figure: dict[str, Any], known: Iterable[str]) -> str:
    """The item a figure stands under: its own, or the table whose name its name continues (table5.1-training)."""
    name = str(figure["item"])
    return next((item for item in known if name.startswith(f"{item}-")), name)


def one_line(text: str) -> str:
    return " ".join(text.split())
