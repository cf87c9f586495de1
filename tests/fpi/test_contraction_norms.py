"""Certified norms against the operators themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fpi import contraction


def true_norm(layer: nn.Module, shape: tuple[int, ...], iterations: int = 300) -> float:
    """‖layer‖ on inputs of this shape by power iteration on the operator as it runs, its padding included."""
    v = torch.randn(1, *shape, dtype=torch.float64, requires_grad=True)
    zero = layer(torch.zeros_like(v)).detach()
    for _ in range(iterations):
        out = layer(v) - zero
        (v,) = torch.autograd.grad(out, v, out.detach())
        v = (v / v.norm()).requires_grad_()
    return (layer(v) - zero).norm().item()


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 8), (30, 20)])
@pytest.mark.parametrize("slack", [1.01, 1.2])
def test_gram_bound_lies_within_its_slack(shape: tuple[int, int], slack: float) -> None:
    torch.manual_seed(0)
    a = torch.randn(6, *shape, dtype=torch.complex128)
    ratio = contraction.gram_norm(a, slack) / torch.linalg.matrix_norm(a, 2)
    assert (ratio >= 1 - 1e-12).all() and (ratio <= slack).all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_gram_bound_neither_over_nor_underflows(scale: float) -> None:
    torch.manual_seed(0)
    a = torch.randn(40, 30) * scale
    ratio = contraction.gram_norm(a) / torch.linalg.matrix_norm(a, 2)
    assert 1 - 1e-5 <= ratio <= 1.02


def test_gram_bound_has_two_derivatives_even_where_singular_values_coincide() -> None:
    for a in (torch.eye(4, 6, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)):
        a.requires_grad_()
        assert torch.autograd.gradcheck(contraction.gram_norm, (a,))
        assert torch.autograd.gradgradcheck(contraction.gram_norm, (a,))


def test_a_zero_matrix_has_norm_and_gradient_zero() -> None:
    a = torch.zeros(3, 4, requires_grad=True)
    bound = contraction.gram_norm(a)
    bound.backward()
    assert bound == 0 and torch.equal(a.grad, torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("kernel", "options", "channels"),
    [
        (1, {}, (4, 6)),
        (2, {"padding": 1}, (3, 3)),
        (3, {"padding": 1}, (5, 5)),
        (3, {"padding": 0}, (5, 2)),
        (3, {"padding": 4}, (2, 3)),
        (5, {"padding": "same"}, (3, 4)),
        ((1, 5), {"padding": (0, 2)}, (3, 3)),
        (3, {"padding": 2, "dilation": 2}, (4, 4)),
        (3, {"padding": 1, "groups": 2}, (4, 6)),
        (3, {"padding": 1, "stride": 2}, (3, 4)),
        ((3, 4), {"padding": 3, "stride": (2, 3), "dilation": (3, 2)}, (2, 3)),
        (3, {"padding": 2, "stride": 2, "groups": 2, "dilation": 2}, (4, 4)),
        (3, {"padding": 1, "padding_mode": "circular"}, (4, 4)),
        (2, {"padding": "same", "padding_mode": "circular"}, (4, 4)),
    ],
)
@pytest.mark.parametrize("image", [(3, 4), (32, 31)])
def test_conv_bound_holds_at_any_size_and_is_attained_by_large_images(
    kernel: int, options: dict, channels: tuple[int, int], image: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(*channels, kernel, **options).double()
    # a kernel of one sign has its peak at one frequency, others between the points of the grid
    for weight in (layer.weight.detach(), layer.weight.detach().abs()):
        layer.weight.data.copy_(weight)
        if min(image) < kernel_reach(layer):
            continue
        true = true_norm(layer, (channels[0], *image))
        bound = contraction.operator_norm(layer, slack=1.05).item()
        assert bound >= true * (1 - 1e-9)
        if image == (32, 31):
            assert bound <= 1.15 * true  # 1.05 of slack, the rest is what the image's border loses


def kernel_reach(layer: nn.Conv2d) -> int:
    """Pixels an unpadded dimension needs for one output."""
    if layer.padding == "same" or layer.padding_mode == "circular":
        return 1
    sizes = zip(layer.kernel_size, layer.dilation, layer.padding, strict=True)
    return max(d * (k - 1) + 1 - 2 * p for k, d, p in sizes)


def test_conv_bound_meets_the_largest_singular_value_of_circular_convolutions() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular", bias=False).double()
    image = (3, 24, 24)
    matrix = torch.func.jacrev(lambda x: layer(x[None])[0])(torch.zeros(image, dtype=torch.float64))
    exact = torch.linalg.matrix_norm(matrix.reshape(3 * 24 * 24, -1), 2)
    assert exact <= contraction.operator_norm(layer, slack=1.05) <= 1.06 * exact


@pytest.mark.parametrize("slack", [1.02, 1.5])
def test_conv_bound_covers_a_peak_between_the_points_of_the_grid(slack: float) -> None:
    """cos(ω − φ) for every φ: wherever the peak lies, the bound is within its slack of it."""
    for phase in torch.linspace(0, torch.pi, 37, dtype=torch.float64):
        a, b = phase.cos(), phase.sin()
        # out = two channels, the real and the imaginary part of a filter with symbol 1 + e^{i(ω−φ)}: |.| peaks at φ
        re = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        rotation = torch.stack([torch.stack([a, b]), torch.stack([-b, a])])
        weight = torch.stack([re, rotation], dim=-1)
        omega = torch.linspace(0, 2 * torch.pi, 20001, dtype=torch.float64)
        symbol = re[None] + rotation[None] * torch.exp(-1j * omega)[:, None, None]
        sup = torch.linalg.matrix_norm(symbol, 2).max()
        assert sup * (1 - 1e-7) <= contraction.conv_norm(weight, slack=slack) <= slack * sup


def test_conv_bound_has_two_derivatives() -> None:
    torch.manual_seed(0)
    weight = torch.randn(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: contraction.conv_norm(w, slack=1.5), (weight,))
    assert torch.autograd.gradgradcheck(lambda w: contraction.conv_norm(w, slack=1.5), (weight,))


def test_norms_work_under_vmap_and_autocast() -> None:
    torch.manual_seed(0)
    weights = torch.randn(4, 3, 3, 3, 3)
    batched = torch.vmap(contraction.conv_norm)(weights)
    torch.testing.assert_close(batched, torch.stack([contraction.conv_norm(w) for w in weights]))
    layer = nn.Linear(50, 40)
    plain = contraction.operator_norm(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(contraction.operator_norm(layer), plain)


def test_what_has_no_known_norm_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="reflect"):
        contraction.operator_norm(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ValueError, match="wider than 'same'"):
        contraction.operator_norm(nn.Conv2d(2, 2, 3, padding=2, padding_mode="circular"))
    with pytest.raises(TypeError, match="Bilinear"):
        contraction.operator_norm(nn.Bilinear(2, 2, 2))
    with pytest.raises(ValueError, match="slack"):
        contraction.gram_norm(Tensor([[1.0]]), slack=1.0)
    with pytest.raises(ValueError, match="slack"):
        contraction.conv_norm(torch.ones(1, 1, 3, 3), slack=0.9)
