"""F1 scores of multi-label predictions, in percent, for many thresholds at once.

The paper's metric is the example-averaged one: the mean over samples of 2 |ŷ ∧ y| / (|ŷ| + |y|), which is sklearn's
`average="samples"`. (Several sources call it "macro"; sklearn's macro is the mean over labels.) 0 / 0 counts as 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = {"example": "f1", "micro": "f1_micro", "macro": "f1_macro"}  # average -> the metric's name in logs


def f1_scores(probabilities: Tensor, labels: Tensor, thresholds: Tensor) -> dict[str, Tensor]:
    """F1 in percent at each threshold: {"f1", "f1_micro", "f1_macro"} -> (thresholds,).

    Args:
        probabilities: (samples, labels); a label is predicted when its probability is above the threshold.
        labels: (samples, labels), 0 or 1.
        thresholds: (thresholds,).
    """
    labels = labels.bool()
    scores = [_f1(probabilities > threshold, labels) for threshold in thresholds]
    return {name: torch.stack([score[i] for score in scores]) for i, name in enumerate(NAMES.values())}


def best_threshold(probabilities: Tensor, labels: Tensor, thresholds: Tensor) -> Tensor:
    """The threshold (scalar tensor) of the best example-averaged F1; the lowest of equals."""
    return thresholds[f1_scores(probabilities, labels, thresholds)["f1"].argmax()]


def _f1(predicted: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    hits = predicted & labels
    example = _ratio(hits.sum(1), predicted.sum(1), labels.sum(1)).mean()
    micro = _ratio(hits.sum(), predicted.sum(), labels.sum())
    macro = _ratio(hits.sum(0), predicted.sum(0), labels.sum(0)).mean()
    return example, micro, macro


def _ratio(hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    # both counts zero: hits are zero, too, and any positive denominator gives 0
    return 200.0 * hits.double() / (predicted + true).clamp(min=1)
