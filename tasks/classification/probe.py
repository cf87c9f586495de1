"""How far the Jacobian-free direction is from the gradient: theorem 3.1 of the paper, measured."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import fpi
from tasks.classification.network import Classifier

Loss = Callable[[Tensor, Tensor], Tensor]


def cosines(network: Classifier, images: Tensor, labels: Tensor, loss: Loss) -> dict[str, float]:
    """Cosines between the Jacobian-free direction and the exact gradient with respect to all parameters.

    The exact gradient solves the adjoint equation of each sample by dense linear algebra. The network is put into eval
    mode meanwhile, so that both directions belong to the same function.

    Args:
        images, labels: a few samples; the theorem speaks of one.
        loss: (outputs, labels) ↦ a mean over the samples.

    Returns:
        "cosine" of the mean over the samples, "cosine_min" over single samples (both 1 where ∂R/∂u or the gradient
        vanishes), and "norm", the largest ‖∂R/∂u‖ measured at the samples' fixed points.
    """
    training = network.training
    network.eval()
    try:
        free = _gradients(network, images, labels, loss, fpi.JacobianFree())
        exact = _gradients(network, images, labels, loss, fpi.Dense())
        with torch.no_grad():
            v = network.features(images)
            norm = network.measured_norm(network.layer(v), v)
    finally:
        network.train(training)
    mean = _cosine(free.mean(0), exact.mean(0))
    return {"cosine": float(mean), "cosine_min": float(_cosine(free, exact).min()), "norm": norm}


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of any length above 0: PyTorch's own takes 1e-8 for shorter ones, and saturated outputs have such gradients."""
    a, b = a.double(), b.double()
    first, second = a.norm(dim=-1), b.norm(dim=-1)
    return torch.where(first + second == 0, 1.0, (a * b).sum(-1) / (first * second))


def _gradients(network: Classifier, images: Tensor, labels: Tensor, loss: Loss, adjoint: fpi.Adjoint) -> Tensor:
    """(samples, parameters): one flat gradient a sample."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    found = []
    with network.differentiated_by(adjoint), torch.enable_grad():
        for image, label in zip(images.split(1), labels.split(1), strict=True):
            gradients = torch.autograd.grad(loss(network(image), label), parameters, materialize_grads=True)
            found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(found)
