"""The end-point error and the multi-scale loss against plain arithmetic, with pixels of unknown truth."""

from __future__ import annotations

import torch

from tasks.flow.losses import SCALE_WEIGHTS, mean_epe, multiscale_loss, pool_truth


def test_mean_epe_is_over_valid_pixels_whatever_the_others_hold() -> None:
    flow, truth = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    truth[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    truth[0, :, 1, 1] = torch.nan
    valid = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    valid[0, 0, 1, 1] = False
    flow.requires_grad_()
    error = mean_epe(flow, truth, valid)
    torch.testing.assert_close(error, torch.tensor([5 / 3]))
    error.sum().backward()
    assert flow.grad is not None and torch.isfinite(flow.grad).all() and (flow.grad[0, :, 1, 1] == 0).all()


def test_a_sample_without_truth_has_no_error_and_no_gradient() -> None:
    flow = torch.ones(2, 2, 2, 2, requires_grad=True)
    valid = torch.tensor([True, False]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    error = mean_epe(flow, torch.zeros(2, 2, 2, 2), valid)
    assert torch.isnan(error[1])
    error[error == error].mean().backward()
    assert flow.grad is not None and torch.isfinite(flow.grad).all()


def test_pooling_averages_known_vectors_only() -> None:
    truth = torch.zeros(1, 2, 4, 4)
    truth[0, 0, 0, 0], truth[0, 0, 0, 1] = 6.0, torch.nan
    valid = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    valid[0, 0, 0, 1] = False
    valid[0, 0, 2:, 2:] = False
    target, known = pool_truth(truth, valid, (2, 2))
    torch.testing.assert_close(target[0, 0, 0, 0], torch.tensor(2.0))
    assert known[0, 0].tolist() == [[True, True], [True, False]]


def test_the_multiscale_loss_is_the_weighted_sum_over_scales() -> None:
    torch.manual_seed(0)
    truth, valid = 20 * torch.randn(2, 2, 64, 64), torch.ones(2, 1, 64, 64, dtype=torch.bool)
    flows = [torch.randn(2, 2, 64 // n, 64 // n) for n in (4, 8, 16, 32, 64)]
    expected = 0.0
    for flow, weight in zip(flows, SCALE_WEIGHTS, strict=True):
        size = flow.shape[-1]
        target = truth.reshape(2, 2, size, 64 // size, size, 64 // size).mean((3, 5)) / 20
        expected += weight * (flow - target).square().sum(1).sqrt().sum() / 2
    torch.testing.assert_close(multiscale_loss(flows, truth, valid), torch.as_tensor(expected))
