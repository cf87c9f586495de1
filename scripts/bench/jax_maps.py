"""The cases' g written anew in JAX from the torch parameters (the tests compare the two)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from case import Case
from torch import Tensor
from torch.utils import _pytree as pytree


def available() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("jax", "jaxopt", "optimistix"))


def to_jax(tree: Any) -> Any:
    import jax.numpy as jnp

    return pytree.tree_map(lambda leaf: jnp.asarray(leaf.detach().numpy()), tree)


def to_torch(array: Any) -> Tensor:
    import numpy as np

    return torch.from_numpy(np.array(array))


def maps(case: Case) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any] | None]:
    """inject(θ, z), g(θ, x, source) and, for a gradient step, γ·energy(θ, x, source) per sample."""
    import jax.numpy as jnp
    from jax import lax, nn

    if case.form == "mlp":
        width = case.x0.shape[1]
        names = [name for name, _ in case.g.named_parameters()]
        w1, b1, w2, b2 = names

        def inject(p: Any, z: Any) -> Any:
            return z @ p[w1][:, width:].T + p[b1]

        def g(p: Any, x: Any, source: Any) -> Any:
            return jnp.tanh(jnp.tanh(source + x @ p[w1][:, :width].T) @ p[w2].T + p[b2])

        return inject, g, None
    if case.form == "conv":
        w1, b1, w2, b2 = [name for name, _ in case.g.named_parameters()]
        channels = case.x0.shape[1]

        def convolve(x: Any, weight: Any) -> Any:  # NHWC, the layout XLA's CPU convolution is made for
            kernel = weight.transpose(2, 3, 1, 0)
            return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

        def inject(p: Any, z: Any) -> Any:
            return convolve(z.transpose(0, 2, 3, 1), p[w1][:, channels:]) + p[b1]

        def g(p: Any, x: Any, source: Any) -> Any:
            hidden = nn.relu(convolve(x.transpose(0, 2, 3, 1), p[w1][:, :channels]) + source)
            return (convolve(hidden, p[w2]) + p[b2]).transpose(0, 3, 1, 2)

        return inject, g, None
    if case.form == "rates":

        def g(p: Any, x: Any, source: Any) -> Any:
            return source[1] * (jnp.tanh(source[0] + x @ p["inner"].T) @ p["outer"].T)

        return lambda p, z: z, g, None

    features, gamma = case.g.energy.features, case.g.step_size

    def inject(p: Any, z: Any) -> Any:
        return z @ p["energy.weight"][:, :features].T + p["energy.bias"]

    def units(p: Any, s: Any, source: Any) -> Any:
        return nn.relu(source + s @ p["energy.weight"][:, features:].T)

    def g(p: Any, x: Any, source: Any) -> Any:
        s = nn.sigmoid(x)
        gradient = (units(p, s, source) @ p["energy.weight"][:, features:]) * (s * (1 - s))
        return x - gamma * (2 / p["energy.weight"].shape[0]) * gradient

    def energy(p: Any, x: Any, source: Any) -> Any:
        return gamma * jnp.square(units(p, nn.sigmoid(x), source)).mean(1)

    return inject, g, energy
