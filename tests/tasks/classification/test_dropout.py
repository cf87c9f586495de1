"""tasks.classification.dropout: a fair, independent, scaled coin for every entry, whatever the memory layout."""

from __future__ import annotations

import pytest
import torch

from tasks.classification.dropout import FairDropout


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_each_entry_is_dropped_or_doubled_with_probability_one_half(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.rand(7, 5, 13, 11).add(0.5).contiguous(memory_format=layout).requires_grad_()
    drop, kept = FairDropout(), torch.zeros(7, 5, 13, 11)
    for _ in range(200):
        out = drop(x)
        factors = (out / x).detach()
        assert set(factors.unique().tolist()) == {0.0, 2.0}
        kept += factors / 2
    # 200 throws of 5,005 coins: each share within 6 standard deviations, the mean within 5 of its own
    assert (kept / 200 - 0.5).abs().max() < 6 * 0.5 / 200**0.5
    assert abs(float(kept.mean()) / 200 - 0.5) < 5 * 0.5 / (200 * 5005) ** 0.5
    assert out.is_contiguous(memory_format=layout)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient, factors)


def test_neighbouring_entries_are_independent() -> None:
    torch.manual_seed(0)
    kept = FairDropout()(torch.ones(80_000)) - 1  # ±1
    for shift in (1, 7, 8, 64):
        assert abs(float((kept[:-shift] * kept[shift:]).mean())) < 5 / 80_000**0.5


def test_it_follows_the_seed_and_does_nothing_in_evaluation() -> None:
    x, drop = torch.rand(3, 4), FairDropout()
    torch.manual_seed(1)
    first = drop(x)
    torch.manual_seed(1)
    torch.testing.assert_close(drop(x), first, rtol=0, atol=0)
    assert drop.eval()(x) is x
