"""What the poster says of table 1 and figure 2, and what our rows ask: differences a seed, positive if true."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run, data_label, read_csv
from tasks.engine.verdict import Claim
from tasks.restoration.rows import PROBLEMS, ROWS, TABLE, by_seed, present

PAPER = [  # (row, other, the poster's difference on Levin's images in dB)
    ("rpodm", "tv", 4.68),
    ("rpodm", "pnp", 1.55),
    ("pnp", "tv", 3.13),
]
OURS = [
    ("rpodm", "podm"),
    ("fpi", "tv"),
    ("fpi", "pnp"),
    ("fpi", "podm"),
    ("fpi", "rpodm"),
    ("fpi", "rpodm_tied"),
]
NEAR = 1.01  # Φ within 1 % of the lowest value seen counts as minimised


def claims(runs: Sequence[Run]) -> list[Claim]:
    """Every claim for which there are runs of both rows, paired by seed."""
    found = []
    for problem, title in PROBLEMS.items():
        for ours, other, gap in PAPER:
            paper = f", by {gap} dB on Levin's images in the poster" if problem == "deblur" else ""
            found += _better(runs, ours, other, problem, f"{title}{paper}")
        for ours, other in OURS:
            found += _better(runs, ours, other, problem, title)
        if row := present(runs, "podm", problem):
            by = by_seed(runs, row, problem)
            text = f"{ROWS[row]} reaches within 1 % of the lowest Φ in fewer iterations than FISTA ({title})"
            differences = [value for run in by.values() if (value := iterations_saved(run)) is not None]
            found += _claim(runs, "figure2", text, differences)
            text = f"{ROWS[row]} ends at a higher PSNR than FISTA on the same Φ ({title})"
            differences = [value for run in by.values() if (value := final_gain(run)) is not None]
            found += _claim(runs, "figure2", text, differences)
    return found


def iterations_saved(run: Run) -> float | None:
    """FISTA's iterations to 1 % above the lowest Φ of both, minus PODM's; not reached counts as one past the last."""
    path = run.directory / "curves.csv"
    if not path.exists():
        return None
    points = read_csv(path)
    lowest = min(point["objective"] for point in points)

    def first(fista: float) -> float:
        steps = [point for point in points if point["fista"] == fista]
        return next((p["iteration"] for p in steps if p["objective"] <= NEAR * lowest), len(steps) + 1.0)

    return first(1.0) - first(0.0)


def final_gain(run: Run) -> float | None:
    """PSNR of PODM's last iterate minus that of FISTA's, dB."""
    path = run.directory / "curves.csv"
    if not path.exists():
        return None
    last = {point["fista"]: point["psnr"] for point in read_csv(path)}
    return last[0.0] - last[1.0]


def _better(runs: Sequence[Run], ours: str, other: str, problem: str, title: str) -> list[Claim]:
    """PSNR of ``ours`` above that of ``other``, for the seeds that both have."""
    first, second = present(runs, ours, problem), present(runs, other, problem)
    if first is None or second is None:
        return []
    mine, theirs = by_seed(runs, first, problem), by_seed(runs, second, problem)
    differences = [mine[seed].metric("test/psnr") - theirs[seed].metric("test/psnr") for seed in mine if seed in theirs]
    return _claim(runs, TABLE, f"{_plain(first)} beats {_plain(second)} ({title})", differences)


def _claim(runs: Sequence[Run], item: str, text: str, differences: list[float]) -> list[Claim]:
    return [Claim(item=item, text=text, differences=differences, data=data_label(runs))] if differences else []


def _plain(row: str) -> str:
    return ROWS[row].removesuffix(" (ours)")
