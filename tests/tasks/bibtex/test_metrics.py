"""tasks.bibtex.metrics against sklearn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import f1_score

from tasks.bibtex.metrics import best_threshold, f1_scores

SKLEARN = {"f1": "samples", "f1_micro": "micro", "f1_macro": "macro"}


@pytest.mark.parametrize("name", SKLEARN)
def test_equals_sklearn_at_every_threshold(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(60, 12, generator=generator) < 0.2).float()
    labels[0] = 0  # no true label
    labels[:, 3] = 0  # a label that never occurs
    probabilities = torch.rand(60, 12, generator=generator)
    probabilities[:5] = 0  # empty predictions, one of them for no true label
    thresholds = torch.tensor([0.0, 0.3, 0.5, 0.9, 1.0])  # at 1.0 all predictions are empty
    ours = f1_scores(probabilities, labels, thresholds)[name]
    for score, threshold in zip(ours, thresholds, strict=True):
        predicted = (probabilities > threshold).numpy()
        expected = f1_score(labels.numpy().astype(bool), predicted, average=SKLEARN[name], zero_division=0)
        assert float(score) == pytest.approx(100 * expected, abs=1e-9)


def test_the_best_threshold_is_the_lowest_of_equals() -> None:
    labels = torch.tensor([[1, 0], [1, 1]])
    probabilities = torch.tensor([[0.35, 0.15], [0.4, 0.3]])
    thresholds = torch.tensor([0.1, 0.2, 0.25, 0.32, 0.5])
    assert float(best_threshold(probabilities, labels, thresholds)) == pytest.approx(0.2)
