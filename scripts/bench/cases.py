"""The fixed-point problems on which the core and its peers are compared.

======  =========================================================================  ==========================
case    g                                                                          what it stresses
======  =========================================================================  ==========================
a       MLP, width 512, batch 128: a fast map (independent weights, spectral       arithmetic, overhead
        radius 0.5) and a slow one (tied weights, 0.9)
b       conv 3×3 - ReLU - conv 3×3 on [x, z], 180×180, batch 1 and 4               large states
c       gradient step on the label energy of Bibtex, 256 samples                   an ill-conditioned energy
d       MLP with a rate per sample: 127 samples at 0.5, one at 0.995               one hard sample in a batch
======  =========================================================================  ==========================
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from case import SEED, Case
from safetensors.torch import load_file
from torch import Tensor, nn

import fpi
from fpi.layers import GradientStep
from tasks.bibtex.arff import read_sparse_arff
from tasks.bibtex.models.fpi import LabelEnergy
from tasks.denoising.convolution import SameConv2d

AUTHORS = "authors-fpi-gd.safetensors"


class Rates(nn.Module):
    """g(x, (z, a)) = a · Qᵀ tanh(Q x + z): nearly linear for small z, so a is the rate of each sample."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        q, _ = torch.linalg.qr(torch.randn(dim, dim))
        self.inner, self.outer = nn.Parameter(q), nn.Parameter(q.t().contiguous())

    def inject(self, z: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return z

    def forward(self, x: Tensor, z: tuple[Tensor, Tensor]) -> Tensor:
        return z[1] * (torch.tanh(torch.addmm(z[0], x, self.inner.t())) @ self.outer.t())


def mlp(width: int = 512, batch: int = 128, slow: bool = False) -> Case:
    """(a) tanh MLP on [x, z]: independent weights at spectral radius 0.5, or tied ones (real spectrum) at 0.9."""
    torch.manual_seed(SEED)
    net = nn.Sequential(nn.Linear(2 * width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
    layer = fpi.FPI_NN(net)
    z = torch.randn(batch, width)
    if slow:
        with torch.no_grad():
            net[2].weight.copy_(net[0].weight[:, :width].t())
        z = 0.2 * z
    radius = calibrate(layer, net[0].weight[:, :width], z, (width,), 0.9 if slow else 0.5)
    name, kind = ("a slow", "tied weights") if slow else ("a fast", "independent weights")
    title = f"MLP {width}, batch {batch}, {kind}, spectral radius {radius:.2f}"
    return Case(name, title, "mlp", layer.g, z, torch.zeros(batch, width), max_iter=1000)


def conv(size: int = 180, batch: int = 1, hidden: int = 32) -> Case:
    """(b) The denoising map: conv 3×3 (2 → 32) - ReLU - conv 3×3 (32 → 1) on [x, z].

    In torch it is computed as that task computes it on a CPU, in JAX in the layout XLA's convolution is made for.
    """
    torch.manual_seed(SEED)
    net = nn.Sequential(SameConv2d(2, hidden, 3), nn.ReLU(), SameConv2d(hidden, 1, 3))
    with torch.no_grad():  # tied kernels: a smoothing map with a real spectrum, as a trained denoiser has
        net[2].weight.copy_(net[0].weight[:, :1].flip(2, 3).transpose(0, 1))
    layer = fpi.FPI_NN(net)
    z = torch.rand(batch, 1, size, size)
    radius = calibrate(layer, net[0].weight[:, :1], z, (1, size, size), 0.8)
    title = f"conv 3×3-ReLU-conv 3×3, {size}×{size}, batch {batch}, spectral radius {radius:.2f}"
    case = Case(f"b batch {batch}", title, "conv", layer.g, z, torch.zeros_like(z), max_iter=300, forward_steps=20)
    if batch > 1:  # the same map again at several times the price: fewer points
        case.gradients, case.targets = False, (1e-2, 1e-4, 1e-6)
    return case


def trained_energy(data: Path, samples: int = 256) -> Case:
    """(c) FPI_GD on Bibtex: the authors' trained energy on test documents, from ``data/bibtex``.

    Its minima lie at infinite logits (x̂ grows as the tolerance shrinks) and its Hessian there is singular: there is
    a forward problem, judged by the energy as well, but no gradient to compare.
    """
    net = LabelEnergy(1836, 159, 512)
    net.load_state_dict(load_file(data / "bibtex" / AUTHORS))
    z = read_sparse_arff(data / "bibtex" / "bibtex-test.arff", 1836, 159)[0][:samples].float()
    title = f"FPI_GD Bibtex, {samples} samples, the authors' trained energy"
    x0 = torch.zeros(samples, 159)
    targets = (1e-1, 1e-2, 1e-3)
    return Case("c", title, "energy", GradientStep(net, 1.0), z, x0, max_iter=1000, gradients=False, targets=targets)


def generated_energy(samples: int = 256, features: int = 1836, labels: int = 159, hidden: int = 512) -> Case:
    """(c) An energy of the same form and sizes whose minima are isolated: E ≈ 1 + mean u², u = W_y (s − s*(z))."""
    torch.manual_seed(SEED)
    net = LabelEnergy(features, labels, hidden)
    z = (torch.rand(samples, features) < 0.04).float()
    with torch.no_grad():  # units in pairs 1 ± u; the curvature in the labels' probabilities spans a factor of 10
        basis, _ = torch.linalg.qr(torch.randn(hidden // 2, labels))
        turn, _ = torch.linalg.qr(torch.randn(labels, labels))
        half = (basis * (4 * hidden * torch.linspace(0.1, 1, labels)).sqrt()) @ turn
        of_z = half @ (torch.randn(labels, features) / (8 * features**0.5))
        net.weight.copy_(torch.cat([torch.cat([-of_z, half], 1), torch.cat([of_z, -half], 1)]))
        constant = half @ (0.2 + 0.6 * torch.rand(labels))
        net.bias.copy_(1 + torch.cat([-constant, constant]))
    title = f"FPI_GD, {samples} samples, generated energy"
    return Case("c generated", title, "energy", GradientStep(net, 1.0), z, torch.zeros(samples, labels), max_iter=1000)


def rates(dim: int = 256, batch: int = 128, hard: float = 0.995) -> Case:
    """(d) 127 easy samples and a hard one."""
    torch.manual_seed(SEED)
    a = torch.full((batch, 1), 0.5)
    a[batch // 2] = hard
    z = (1e-4 * torch.randn(batch, dim), a)
    title = f"MLP {dim}, batch {batch}, rate 0.5 but for one sample at {hard}"
    case = Case("d", title, "rates", Rates(dim), z, torch.zeros(batch, dim), max_iter=5000)
    case.targets = (1e-2, 1e-4, 1e-6)  # a plain iteration takes thousands of steps here
    return case


def measured_radius(layer: fpi.FPILayer, z: Any) -> float:
    """Largest spectral radius of ∂g/∂x over the samples at the fixed point."""
    source = layer.g.inject(z)  # type: ignore[operator]
    with torch.no_grad():
        x = layer.initial_state(z)
        for _ in range(300):
            x = layer.g(x, source)
    return float(fpi.contraction.spectral_radius(layer.g, x, source.detach(), iterations=100).max())


def calibrate(layer: fpi.FPILayer, columns: Tensor, z: Any, shape: tuple[int, ...], target: float) -> float:
    """Scale the weights of x in place until the spectral radius at the fixed point is ``target``; returns it."""
    layer.state_shape = shape
    with torch.no_grad():
        columns *= 0.5 / measured_radius(layer, z)
    for _ in range(4):
        radius = measured_radius(layer, z)
        with torch.no_grad():
            columns *= target / radius
    return measured_radius(layer, z)


def build(keys: list[str], data: Path | None) -> tuple[list[Case], list[str]]:
    """The cases asked for by letter, and the reasons for what is left out."""
    makers: dict[str, list[Callable[[], Case]]] = {
        "a": [mlp, lambda: mlp(slow=True)],
        "b": [conv, lambda: conv(batch=4)],
        "c": [generated_energy],
        "d": [rates],
    }
    skipped = []
    if data is not None and (data / "bibtex" / AUTHORS).is_file():
        makers["c"].insert(0, lambda: trained_energy(data))
    elif "c" in keys:
        skipped.append(f"case c with the authors' energy: FPI_DATA names no folder with bibtex/{AUTHORS}")
    return [make() for key in keys for make in makers[key]], skipped
