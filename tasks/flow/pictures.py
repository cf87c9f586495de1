"""The examples that runs keep, read and drawn: estimates beside the truth. Without torch, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from tasks.flow.figures_flow import Example, comparison


def read_examples(archives: Mapping[str, Path]) -> list[Example]:
    """The pairs of examples.npz files of several rows, by the rows' labels; all rows must have kept the same pairs."""
    loaded = {label: np.load(path) for label, path in archives.items()}
    first = next(iter(loaded.values()))
    return [
        Example(
            name=str(name),
            frame1=first[f"frame1_{index}"],
            estimates={label: as_flow(archive[f"flow_{index}"]) for label, archive in loaded.items()},
            truth=as_flow(first[f"truth_{index}"]),
            valid=first[f"valid_{index}"],
        )
        for index, name in enumerate(first["names"])
    ]


def draw_examples(archive: Path) -> Path:
    """Draw one row's examples.npz beside it, as a PNG; returns its path."""
    figure = comparison(read_examples({"estimate": archive}))
    target = archive.with_suffix(".png")
    figure.savefig(target, dpi=100)
    plt.close(figure)
    return target


def as_flow(array: np.ndarray) -> np.ndarray:
    """A kept flow, (2, height, width) float32."""
    return array.astype(np.float32)
