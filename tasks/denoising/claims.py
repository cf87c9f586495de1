"""What the thesis says of tables 6.1 and 6.2, and what our rows ask: differences of PSNR a seed, positive if true."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.denoising.rows import GAPS, LEVELS, PROTOCOLS, ROWS, TABLE, by_seed
from tasks.engine.store import Run, data_label
from tasks.engine.verdict import Claim

PUBLISHED_GAPS = {15: 0.25, 20: 0.56, 25: 0.65}  # dB, table 6.2
OURS = [
    ("fpi_nn", "control"),
    ("fpi_nn", "unrolled"),
    ("fpi_nn", "fpi_nn_plain"),
    ("fpi_nn", "fpi_nn_jfb"),
    ("fpi_nn_anderson", "feedforward"),
    ("fpi_nn_budget", "feedforward"),
    ("fpi_nn", "nlm"),
]


def claims(runs: Sequence[Run]) -> list[Claim]:
    """Every claim for which a protocol has runs of all rows and levels it is about, paired by seed."""
    found = []
    for protocol, title in PROTOCOLS.items():
        gaps = {level: _gaps(runs, "fpi_nn", "feedforward", level, protocol) for level in LEVELS}
        for level, gap in gaps.items():
            text = f"FPI_NN beats Feedforward at σ = {level} (gap in the paper: {PUBLISHED_GAPS[level]} dB; {title})"
            found += _claim(runs, TABLE, text, list(gap.values()))
        seeds = sorted(set.intersection(*(set(gap) for gap in gaps.values())))
        wider = [gaps[25][seed] - gaps[15][seed] for seed in seeds]
        found += _claim(runs, GAPS, f"the gap is larger at σ = 25 than at 15 ({title})", wider)
        steps = [min(gaps[20][seed] - gaps[15][seed], gaps[25][seed] - gaps[20][seed]) for seed in seeds]
        found += _claim(runs, GAPS, f"the gap grows from each σ to the next ({title})", steps)
        for ours, other in OURS:
            levels = [_gaps(runs, ours, other, level, protocol) for level in LEVELS]
            seeds = sorted(set.intersection(*(set(level) for level in levels)))
            means = [sum(level[seed] for level in levels) / len(levels) for seed in seeds]
            text = f"{_plain(ours)} beats {_plain(other)}, mean over σ ({title})"
            found += _claim(runs, TABLE, text, means)
    return found


def _gaps(runs: Sequence[Run], ours: str, other: str, level: int, protocol: str) -> dict[int, float]:
    """How much higher the PSNR of `ours` is, for the seeds that both rows have."""
    mine, theirs = by_seed(runs, ours, level, protocol), by_seed(runs, other, level, protocol)
    return {seed: mine[seed].metric("test/psnr") - theirs[seed].metric("test/psnr") for seed in mine if seed in theirs}


def _claim(runs: Sequence[Run], item: str, text: str, differences: list[float]) -> list[Claim]:
    return [Claim(item=item, text=text, differences=differences, data=data_label(runs))] if differences else []


def _plain(row: str) -> str:
    return ROWS[row].removesuffix(" (ours)")
