"""tasks.engine.image_quality against scikit-image and torchmetrics."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torchmetrics.functional.image import structural_similarity_index_measure

from tasks.engine.image_quality import psnr, rounded, ssim


def test_scores_equal_scikit_images() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 1, 40, 36, generator=generator)
    image = truth + 0.1 * torch.randn(truth.shape, generator=generator)
    for i in range(3):
        a, b = truth[i, 0].double().numpy(), image[i, 0].double().numpy()
        assert float(psnr(image, truth)[i]) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-5)
    found = ssim(image, truth)
    # the other implementation pads the borders, this one leaves them out
    other = structural_similarity_index_measure(image, truth, data_range=1.0, sigma=1.5, reduction="none")
    assert found.tolist() == pytest.approx(other.tolist(), abs=1e-2)  # type: ignore[union-attr]
    assert float(ssim(truth, truth).min()) == pytest.approx(1) and found.shape == (3,)


def test_rounding_clips_and_keeps_256_levels() -> None:
    image = torch.tensor([-0.2, 0.0, 0.5, 1.3, 0.1234])
    assert torch.equal(rounded(image) * 255, torch.tensor([0.0, 0.0, 128.0, 255.0, 31.0]))
