"""What was done to the image: blur with circular boundary, then every s-th pixel kept; and the exact inverse problems.

One operator A covers three tasks: deblurring (s = 1), denoising (a kernel of one pixel) and super-resolution (a bicubic
kernel, s = 4).  f(x) = ½‖Ax − y‖² is the fidelity of model (1) of the PODM poster.  Everything is linear in Fourier
space, differentiable, and per image: images of a batch may have different kernels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Problem(NamedTuple):
    """A batch of restoration problems of one size.

    Attributes:
        y: the observations, (batch, 1, h, w) on [0, 1] (noise may leave it).
        otf: the kernels' transfer functions at the size of the image, (batch, 1, s·h, s·w // 2 + 1) complex.
    """

    y: Tensor
    otf: Tensor

    @property
    def factor(self) -> int:
        """s: how many pixels of the image there are for one of the observation, along each axis."""
        return self.otf.shape[-2] // self.y.shape[-2]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.y.shape[-2] * self.factor, self.y.shape[-1] * self.factor

    def spectrum(self, x: Tensor) -> Tensor:
        """The image's half spectrum."""
        return torch.fft.rfft2(x)

    def image(self, spectrum: Tensor) -> Tensor:
        """The image of a half spectrum."""
        return torch.fft.irfft2(spectrum, s=self.size)

    def apply(self, x: Tensor) -> Tensor:
        """A x, shaped as y."""
        blurred = self.image(self.otf * self.spectrum(x))
        return decimated(blurred, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y, shaped as the image."""
        return self.image(self.otf.conj() * self.spectrum(spread(y, self.factor)))

    def fidelity(self, x: Tensor) -> Tensor:
        """f(x) = ½‖Ax − y‖² per image, shape (batch,)."""
        return (self.apply(x) - self.y).square().flatten(1).sum(1) / 2

    def gradient(self, x: Tensor) -> Tensor:
        """∇f(x) = Aᵀ(Ax − y)."""
        return self.adjoint(self.apply(x) - self.y)

    def lipschitz(self) -> Tensor:
        """‖A‖² per image, (batch, 1, 1, 1): the Lipschitz constant of ∇f, exact."""
        gains = self._aliased(self.otf.abs().square())
        return gains.amax((-2, -1), keepdim=True)

    def solve(self, b: Tensor, weight: Tensor) -> Tensor:
        """(AᵀA + H)⁻¹ b for a circulant H with the positive spectrum ``weight``, in closed form.

        Zhao et al. 2016 (Fast single image super-resolution, IEEE TIP), for a general circulant H.

        Args:
            b: shaped as the image.
            weight: H's real spectrum, broadcastable to (batch, 1, H, W // 2 + 1).
        """
        scaled = self.spectrum(b) / weight
        if self.factor == 1:
            return self.image(scaled / (1 + self.otf.abs().square() / weight))
        gains = self._aliased(self.otf.abs().square() / weight)
        low = decimated(self.image(self.otf * scaled), self.factor)
        low = torch.fft.irfft2(torch.fft.rfft2(low) / (1 + gains), s=low.shape[-2:])
        correction = self.otf.conj() * self.spectrum(spread(low, self.factor)) / weight
        return self.image(scaled - correction)

    def _aliased(self, gains: Tensor) -> Tensor:
        """The half spectrum of D C Dᵀ, C circulant with spectrum ``gains`` and D the decimation."""
        if self.factor == 1:
            return gains
        return torch.fft.rfft2(decimated(self.image(gains + 0j), self.factor)).real


def make_problem(y: Tensor, kernels: Tensor | list[Tensor], factor: int = 1) -> Problem:
    """The problem of observations and their kernels (k, k), odd, one an image (`kernels.checked` makes them so).

    Raises:
        ValueError: y is not (batch, 1, h, w), the numbers differ, or a kernel is even or larger than the image.
    """
    if y.dim() != 4 or y.shape[1] != 1:
        raise ValueError(
            f"observations must be gray, of shape (batch, 1, height, width), got {tuple(y.shape)}: "
            "restore the channels of a colour image one by one"
        )
    if len(kernels) != len(y):
        raise ValueError(f"one kernel an image is needed: {len(kernels)} kernels for {len(y)} images")
    size = (y.shape[-2] * factor, y.shape[-1] * factor)
    return Problem(y, torch.stack([transfer(kernel.to(y), size) for kernel in kernels])[:, None])


def degrade(truth: Tensor, kernels: Tensor | list[Tensor], noise: Tensor, factor: int = 1) -> Problem:
    """The problem whose observation is A truth + noise; ``noise`` is shaped as the observation."""
    blank = make_problem(truth[..., ::factor, ::factor], kernels, factor)
    if blank.size != tuple(truth.shape[-2:]):
        raise ValueError(f"images of {tuple(truth.shape[-2:])} pixels cannot be divided by {factor}: crop them first")
    return blank._replace(y=blank.apply(truth) + noise)


def transfer(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The half spectrum of the circular convolution with a kernel (k, k) centred on its middle.

    Raises:
        ValueError: the kernel has an even side, and hence no middle, or is larger than the image.
    """
    k, l = kernel.shape
    if k % 2 == 0 or l % 2 == 0:
        raise ValueError(f"both sides of a kernel must be odd, so that it has a middle; got {k} x {l} pixels")
    if k > size[0] or l > size[1]:
        raise ValueError(
            f"the kernel has {k} x {l} pixels, the image only {size[0]} x {size[1]}: crop the kernel, or choose larger "
            "images (data.crop)"
        )
    padded = kernel.new_zeros(size)
    padded[:k, :l] = kernel
    return torch.fft.rfft2(padded.roll((-(k // 2), -(l // 2)), (0, 1)))


def decimated(x: Tensor, factor: int) -> Tensor:
    """Every ``factor``-th pixel along each axis."""
    return x if factor == 1 else x[..., ::factor, ::factor]


def spread(y: Tensor, factor: int) -> Tensor:
    """The adjoint of `decimated`: zeros between the pixels."""
    if factor == 1:
        return y
    out = y.new_zeros(*y.shape[:-2], y.shape[-2] * factor, y.shape[-1] * factor)
    out[..., ::factor, ::factor] = y
    return out
