"""torch.func over a node: grad, jacrev, vmap, per-sample gradients; forward mode."""

from __future__ import annotations

import torch
from torch import Tensor


def test_jacobian_and_hessian_by_reverse_mode(make_layer, z: Tensor) -> None:
    layer, z = make_layer(), z.detach()[:2]

    def f(z: Tensor) -> Tensor:
        return layer(z).sin().sum()

    torch.testing.assert_close(torch.func.jacrev(layer)(z), torch.autograd.functional.jacobian(layer, z))
    hessian = torch.func.jacrev(torch.func.jacrev(f))(z)
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(f, z))
    assert hessian.abs().max() > 1e-3


def test_vmap_solves_all_entries_at_once(make_layer, z: Tensor) -> None:
    layer = make_layer()
    torch.testing.assert_close(torch.func.vmap(lambda zi: layer(zi[None])[0])(z), layer(z))


def test_per_sample_gradients_sum_to_the_gradient(make_layer, z: Tensor) -> None:
    layer = make_layer()

    def loss(parameters: dict[str, Tensor], zi: Tensor) -> Tensor:
        return torch.func.functional_call(layer, parameters, (zi[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(dict(layer.named_parameters()), z.detach())
    total = torch.autograd.grad(layer(z.detach()).square().sum(), list(layer.parameters()))
    for found, expected in zip(each.values(), total, strict=True):
        torch.testing.assert_close(found.sum(0), expected)
