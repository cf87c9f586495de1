"""Certified norms of linear layers: upper bounds that hold in exact arithmetic, with derivatives of every order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d


def gram_norm(matrix: Tensor, slack: float = 1.02) -> Tensor:
    """An upper bound of the spectral norm within a factor `slack` of it (Delattre et al. 2023, algorithm 1).

    With G₀ = AAᴴ and G_{t+1} = G_tG_tᴴ, ‖A‖ = ‖G_t‖^p and ‖G_t‖ ≤ ‖G_t‖_F ≤ √r ‖G_t‖ for p = 2^−(t+1) and r the smaller
    dimension: the bound ‖G_t‖_F^p is too large by r^(p/2) at most, which settles the number of squarings.
    A product of matrices and not a decomposition, it is smooth wherever A ≠ 0, equal singular values included.

    Args:
        matrix: (..., m, n), real or complex.
        slack: a factor > 1.

    Returns:
        (...) bounds; 0, with gradient 0, for a zero matrix.
    """
    if not slack > 1:
        raise ValueError(f"slack is the factor by which a bound may exceed the norm, > 1, got {slack!r}")
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = matrix.mH
    rank = matrix.shape[-2]
    squarings = max(0, math.ceil(math.log2(math.log(rank) / math.log(slack))) - 2) if rank > 1 else 0
    scale = _frobenius(matrix)  # G_t overflows unless it is scaled; the scales return as a sum of logarithms
    a = matrix / scale
    gram, log, power = a @ a.mH, scale.log(), 0.5
    for _ in range(squarings):
        scale = _frobenius(gram)
        gram, log = gram / scale, log + power * scale.log()
        gram, power = gram @ gram.mH, power / 2
    bound = (log + power * _frobenius(gram).log()).exp()[..., 0, 0]
    return torch.where(torch.linalg.vector_norm(matrix.detach(), dim=(-2, -1)) == 0, torch.zeros_like(bound), bound)


def _frobenius(a: Tensor) -> Tensor:
    """‖a‖_F of shape (..., 1, 1), kept off zero so that it can be divided by."""
    square = (a.real.square() + a.imag.square() if a.is_complex() else a.square()).sum((-2, -1), keepdim=True)
    return square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()


def conv_norm(weight: Tensor, *, stride: Sequence[int] = (), groups: int = 1, slack: float = 1.1) -> Tensor:
    """An upper bound of a convolution's operator norm, for zero padding of any width and images of any size.

    A zero-padded convolution is a compression P C E of the convolution C of infinite images (E embeds, P restricts;
    both have norm 1), so its norm is at most ‖C‖ = sup_ω σ₁(K̂(ω)), K̂(ω) = Σ_j K_j e^(−ijω) the symbol (Sedghi et al.
    2019, who take ω on the image's grid, which is exact for circular padding).  On a grid of N points a dimension the
    sup is underestimated, boundedly: for unit u, v, `|uᴴK̂(ω)v|²` is a trigonometric polynomial of degree k−1, and by
    M. Riesz' lemma one of degree n that peaks at M is ≥ M cos(n t) at distance t ≤ π/n from the peak; the grid comes
    within π/N of it, so sup σ₁² ≤ max_grid σ₁² / Π cos(π(k−1)/N) over the dimensions.

    Args:
        weight: `(out, in/groups, *kernel)`, as of `Conv1d`, `Conv2d` or `Conv3d`.  Dilation does not matter: it
            only re-indexes ω (with a stride, hand in the kernel with its zeros).
        stride: per dimension; a strided convolution is one of stride 1 on the image's polyphase components.
        groups: blocks of a block-diagonal operator, whose norm is the largest block's.
        slack: a factor > 1 on sup σ₁; half of it, on a log scale, goes to the grid and half to `gram_norm`.

    Returns:
        () the bound; derivatives flow through the frequency that attains it.  A large image attains sup σ₁.
    """
    if not slack > 1:
        raise ValueError(f"slack is the factor by which a bound may exceed the norm, > 1, got {slack!r}")
    kernel = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    if any(s > 1 for s in stride):
        kernel = _polyphase(kernel, stride)
    sizes = kernel.shape[3:]
    part = math.sqrt(slack)
    grid = _grid(sizes, part)
    loss = math.prod(math.cos(math.pi * (k - 1) / n) for k, n in zip(sizes, grid, strict=True)) ** -0.5
    waves = _waves(sizes, grid, kernel)
    flat = kernel.flatten(3).to(waves.dtype)  # complex
    symbols = (flat.detach() @ waves).movedim(-1, 1).flatten(0, 1)  # (groups · frequencies, out, in)
    worst = gram_norm(symbols, part).argmax()
    group, frequency = worst // waves.shape[1], worst % waves.shape[1]
    wave = waves.index_select(1, frequency.reshape(1))
    symbol = flat.index_select(0, group.reshape(1))[0] @ wave  # only this one needs derivatives
    return loss * gram_norm(symbol[..., 0], part)


def _waves(sizes: Sequence[int], grid: Sequence[int], like: Tensor) -> Tensor:
    """e^(−ijω), (prod(sizes) positions j, frequencies ω): of each ±ω, where a real kernel's norms agree, one."""
    dtype = torch.complex128 if like.dtype == torch.float64 else torch.complex64
    waves = torch.ones(1, 1, dtype=dtype, device=like.device)
    for i, (k, n) in enumerate(zip(sizes, grid, strict=True)):
        count = n // 2 + 1 if i == len(sizes) - 1 else n
        angle = torch.outer(torch.arange(k).double(), torch.arange(count).double()) * (-2 * math.pi / n)
        waves = torch.kron(waves, torch.polar(torch.ones_like(angle), angle).to(waves))
    return waves


def _grid(sizes: Sequence[int], slack: float) -> list[int]:
    """Points per dimension, so that all dimensions' grids together cost at most a factor `slack`."""
    cosine = slack ** (-2 / sum(k > 1 for k in sizes)) if any(k > 1 for k in sizes) else 1.0
    return [1 if k == 1 else max(2 * k - 1, math.ceil(math.pi * (k - 1) / math.acos(cosine))) for k in sizes]


def _polyphase(kernel: Tensor, stride: Sequence[int]) -> Tensor:
    """y[n] = Σ_j w[j] x[sn + j] with j = sq + p is a convolution over q of the s-fold channels x_p[m] = x[sm + p]."""
    for s in stride:  # the dimensions in turn: each is taken from the front and its quotient put at the end
        kernel = torch.nn.functional.pad(kernel.movedim(3, -1), (0, -kernel.shape[3] % s))
        kernel = kernel.unflatten(-1, (-1, s)).movedim(-1, 3).flatten(2, 3)
    return kernel


def operator_norm(layer: nn.Module, weight: Tensor | None = None, *, slack: float = 1.1) -> Tensor:
    """A certified upper bound of ‖layer‖, the bias aside, within `slack` of the norm (for convolutions: of sup σ₁).

    Args:
        layer: `Linear`, or `Conv1d`/`Conv2d`/`Conv3d` with zero or circular padding.
        weight: takes the place of `layer.weight`; a part of it, say.
        slack: a factor > 1.

    Raises:
        TypeError: another layer.
        ValueError: a padding whose norm is not known here.
    """
    if weight is None:
        weight = layer.weight  # type: ignore[assignment]
    assert isinstance(weight, Tensor)
    with torch.autocast(weight.device.type, enabled=False):
        weight = weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight
        if isinstance(layer, nn.Linear):
            return gram_norm(weight, slack)
        if isinstance(layer, Conv):
            _check_padding(layer)
            strided = any(s > 1 for s in layer.stride)
            kernel = _dilate(weight, layer.dilation) if strided else weight
            return conv_norm(kernel, stride=layer.stride, groups=layer.groups, slack=slack)
    raise TypeError(f"operator_norm knows Linear, Conv1d, Conv2d and Conv3d, got {type(layer).__name__}")


def _check_padding(layer: Conv) -> None:
    if layer.padding_mode == "zeros":
        return
    if layer.padding_mode != "circular":
        raise ValueError(
            f"the norm of a {type(layer).__name__} with padding_mode={layer.padding_mode!r} is not known here "
            "(it repeats pixels); use 'zeros' or 'circular'"
        )
    if isinstance(layer.padding, str):
        return
    sizes = zip(layer.padding, layer.kernel_size, layer.dilation, strict=True)
    if any(2 * p > d * (k - 1) for p, k, d in sizes):
        raise ValueError("circular padding wider than 'same' repeats outputs, its norm is not known here; use less")


def _dilate(weight: Tensor, dilation: Sequence[int]) -> Tensor:
    """The kernel with its zeros written out."""
    for i, d in enumerate(dilation):
        if d > 1:
            spaced = torch.zeros(d, dtype=weight.dtype, device=weight.device)
            spaced[0] = 1
            along = weight.movedim(2 + i, -1)
            along = (along[..., None] * spaced).flatten(-2)[..., : 1 - d]
            weight = along.movedim(-1, 2 + i)
    return weight
