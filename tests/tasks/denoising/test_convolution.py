"""tasks.denoising.convolution against nn.Conv2d: values, gradients, second derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tasks.denoising.convolution import SameConv2d


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 4), (4, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_equals_the_librarys_convolution(inputs: int, outputs: int, kernel_size: int) -> None:
    torch.manual_seed(0)
    ours = SameConv2d(inputs, outputs, kernel_size).double()
    library = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2).double()
    library.load_state_dict(ours.state_dict())
    x = torch.randn(2, inputs, 7, 6, dtype=torch.double, requires_grad=True)
    torch.testing.assert_close(ours(x), library(x))
    with torch.no_grad():  # another way is taken here
        torch.testing.assert_close(ours(x), library(x))
    v = torch.randn(2, outputs, 7, 6, dtype=torch.double)
    found = torch.autograd.grad(ours(x), [x, *ours.parameters()], v)
    expected = torch.autograd.grad(library(x), [x, *library.parameters()], v)
    torch.testing.assert_close(found, expected)


def test_has_second_derivatives() -> None:
    torch.manual_seed(0)
    for inputs, outputs in ((1, 2), (2, 1)):
        layer = SameConv2d(inputs, outputs, 3).double()
        x = torch.randn(1, inputs, 4, 4, dtype=torch.double, requires_grad=True)
        weight = layer.weight.detach().requires_grad_()
        assert torch.autograd.gradgradcheck(lambda x, w, c=layer: c._conv_forward(x, w, None), (x, weight))


@pytest.mark.parametrize("kernel_size", [0, 2, -3])
def test_even_kernels_are_refused(kernel_size: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        SameConv2d(1, 1, kernel_size)
