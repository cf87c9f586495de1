"""What the thesis says about table 5.1, and what the control asks: differences of test F1 a seed, positive if true."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.bibtex.rows import ITEM, PROTOCOLS, ROWS, by_seed
from tasks.engine.store import Run
from tasks.engine.verdict import Claim

BEATS = [("fpi_nn", "control"), ("fpi_gd", "control"), ("fpi_gd", "dvn_gt"), ("fpi_nn", "dvn_gt")]
BEST = "dvn_adversarial"


def claims(runs: Sequence[Run]) -> list[Claim]:
    """Every claim for which a protocol has runs of all rows it is about, paired by seed."""
    found = []
    for protocol, title in PROTOCOLS.items():
        for ours, other in BEATS:
            text = (
                f"{ROWS[ours]} beats the {ROWS[other]}" if other == "control" else f"{ROWS[ours]} beats {ROWS[other]}"
            )
            found += _claim(runs, protocol, f"{text} ({title})", ours, [other])
        others = [row for row in ROWS if row != BEST and by_seed(runs, row, protocol)]
        found += _claim(runs, protocol, f"{ROWS[BEST]} is the best row ({title})", BEST, others)
    return found


def _claim(runs: Sequence[Run], protocol: str, text: str, ours: str, others: list[str]) -> list[Claim]:
    """The claim that `ours` scores higher than the best of `others`, for the seeds that all of them have."""
    scores = [{seed: run.metric("test/f1") for seed, run in by_seed(runs, row, protocol).items()} for row in others]
    mine = by_seed(runs, ours, protocol)
    seeds = sorted(set(mine).intersection(*scores)) if scores else []
    if not seeds:
        return []
    differences = [mine[seed].metric("test/f1") - max(score[seed] for score in scores) for seed in seeds]
    return [Claim(item=ITEM, text=text, differences=differences, data=str(mine[seeds[0]].run["data"]))]
