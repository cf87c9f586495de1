"""`fpi.linear` is the same function as torch's operations, in value and in every derivative, whichever way it takes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fpi
from fpi import onednn
from fpi.onednn import chain, linear, take_activation

ACTIVATIONS = [None, "relu", "sigmoid", "tanh"]
needs_onednn = pytest.mark.skipif(not onednn._AVAILABLE, reason="this build of torch has no oneDNN")


@pytest.fixture(autouse=True)
def small_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_SMALLEST", 0)


def both(monkeypatch: pytest.MonkeyPatch, run: Callable[[], list[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """What `run` gives through oneDNN, and through torch's own operations."""
    found = run()
    with monkeypatch.context() as patch:
        patch.setattr(onednn, "_AVAILABLE", False)
        return found, run()


def tensors(batch: int = 9, inputs: int = 6, outputs: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, inputs), (outputs, inputs), (outputs,), (batch, outputs)
    x, w, b, added = (torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes)
    return x, w, b, added


@needs_onednn
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("with_added", [True, False])
def test_values_and_derivatives_to_the_third_order(
    monkeypatch: pytest.MonkeyPatch, activation: str | None, with_bias: bool, with_added: bool
) -> None:
    x, w, b, added = tensors()
    wanted = [x, w] + [b] * with_bias + [added] * with_added

    def run() -> list[Tensor]:
        assert onednn._through_onednn(x, w) == onednn._AVAILABLE
        y = linear(x, w, b if with_bias else None, added=added if with_added else None, activation=activation)
        found = [y]
        for _ in range(3):
            scalar = sum((t * torch.arange(1.0, t.numel() + 1).sin().reshape(t.shape)).sum() for t in found)
            if not scalar.requires_grad:
                break
            found = list(torch.autograd.grad(scalar, wanted, create_graph=True, materialize_grads=True))
            collected.extend(found)
        return [y, *collected]

    collected: list[Tensor] = []
    found, expected = both(monkeypatch, run)
    for a, e in zip(found, expected[: len(found)], strict=True):
        torch.testing.assert_close(a, e, rtol=1e-4, atol=1e-4)


@needs_onednn
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_added", [True, False])
def test_what_is_not_a_number_stays_so(activation: str | None, with_added: bool) -> None:
    """oneDNN's relu would make 0 of it, and hide that a solve diverges."""
    x, w, b, added = (t.detach().clone() for t in tensors())
    x[2, 3], x[4, 1] = math.nan, math.inf
    y = linear(x, w, b, added=added if with_added else None, activation=activation)
    expected = torch.addmm(added if with_added else torch.zeros(()), x, w.t()) + b
    torch.testing.assert_close(y, onednn._OPS[activation](expected), equal_nan=True)
    assert y[2].isnan().all()


@needs_onednn
def test_layouts_that_onednn_cannot_take_are_made_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(9, 12)[:, ::2]
    whole = torch.randn(5, 13, requires_grad=True)
    for weight in (whole[:, 2:8], torch.randn(13, 5)[3:9].t(), torch.randn(12, 10)[::2, ::2].t()):
        found, expected = both(monkeypatch, lambda weight=weight: [linear(x, weight)])
        torch.testing.assert_close(found, expected)
    (grad,) = torch.autograd.grad(linear(x, whole[:, 2:8]).sum(), whole)
    torch.testing.assert_close(grad[:, 2:8], x.sum(0).expand(5, 6))
    assert grad[:, :2].eq(0).all() and grad[:, 8:].eq(0).all()


@needs_onednn
def test_a_backward_solve_does_not_compute_the_weights_gradient_in_every_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, w, b, _ = tensors(5, 5, 5)
    calls = []
    gradient = onednn._Parameters.backward
    monkeypatch.setattr(onednn._Parameters, "backward", lambda ctx, *c: (calls.append(1), gradient(ctx, *c))[1])
    y = linear(x, w, b, activation="tanh")
    for _ in range(4):
        torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
    assert calls == []
    torch.autograd.grad(y, w, torch.ones_like(y))
    assert calls == [1]


@needs_onednn
def test_a_parameter_changed_in_place_after_the_forward_pass_is_noticed() -> None:
    x, w, b, _ = tensors()
    y = linear(x, w, b)
    with torch.no_grad():
        w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_other_mode_takes_torchs_operations(activation: str | None) -> None:
    x, w, b, added = (t.detach() for t in tensors())

    def f(x: Tensor) -> Tensor:
        return linear(x, w, b, added=added, activation=activation)

    exact = torch.func.jacrev(f)(x)
    torch.testing.assert_close(torch.func.jacfwd(f)(x), exact)
    torch.testing.assert_close(torch.func.vmap(f)(x[None])[0], f(x))
    double = linear(x.double(), w.double(), b.double(), added=added.double(), activation=activation)
    torch.testing.assert_close(f(x), double.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, w, b, activation=activation).dtype == torch.bfloat16


def test_chain_is_the_network_and_leaves_hooks_alone() -> None:
    net = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 2))
    x = torch.randn(9, 6)
    torch.testing.assert_close(chain(net, x), net(x))
    seen = []
    net[1].register_forward_hook(lambda *_: seen.append("tanh"))
    net[2].register_forward_pre_hook(lambda *_: seen.append("linear"))
    torch.testing.assert_close(chain(net, x), net(x))
    assert seen == ["tanh", "linear"] * 2
    layers: list[nn.Module] = [nn.Sigmoid(), nn.Linear(2, 2)]
    assert take_activation(layers) == "sigmoid" and len(layers) == 1 and take_activation(layers) is None


@needs_onednn
def test_a_layer_gives_the_same_fixed_point_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4 + 3, 8), nn.Tanh(), nn.Linear(8, 4), nn.Tanh())
    fpi.contraction.scale_parameters_(net, 0.8)
    layer, z = fpi.FPI_NN(net), torch.randn(6, 3)

    def run() -> list[Tensor]:
        x = layer(z)
        return [x, *torch.autograd.grad(x.square().sum(), list(net.parameters()))]

    for a, e in zip(*both(monkeypatch, run), strict=True):
        torch.testing.assert_close(a, e, rtol=1e-4, atol=1e-5)


class TestRepeated:
    """Matrices kept for the time of a solve: the same products, and no other matrix's."""

    needs = pytest.mark.skipif(not (onednn._AVAILABLE and onednn._CAN_PACK), reason="no packing in this torch")

    @needs
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_a_packed_matrix_gives_the_same_values(self, activation: str | None) -> None:
        x, w, _, added = tensors()
        with torch.no_grad():
            for weight in (w[:, :4], w, w.detach().t().contiguous().t()):
                inputs, kept = x[:, : weight.shape[1]].contiguous(), {}
                expected = onednn._OPS[activation](inputs @ weight.t() + added)
                with onednn.repeated(kept):
                    for _ in range(10):
                        y = linear(inputs, weight, added=added, activation=activation)
                        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
                (entry,) = kept.values()
                assert entry.form.is_mkldnn

    @needs
    def test_a_matrix_changed_in_place_is_taken_anew(self) -> None:
        x, w, _, _ = tensors()
        with torch.no_grad(), onednn.repeated({}):
            for _ in range(10):
                linear(x, w[:, :6])
            w.mul_(2)
            torch.testing.assert_close(linear(x, w[:, :6]), x @ w.t(), rtol=1e-5, atol=1e-5)

    @needs
    def test_matrices_computed_in_every_evaluation_are_not_mistaken_for_one_another_nor_hoarded(self) -> None:
        x, w, _, _ = tensors(64, 96, 80)
        kept: dict = {}
        with torch.no_grad(), onednn.repeated(kept):
            for n in range(1, 60):
                torch.testing.assert_close(linear(x, w / n), x @ (w / n).t(), rtol=1e-4, atol=1e-4)
                assert len(kept) <= 16

    @needs
    def test_outside_of_the_block_nothing_is_kept_nor_where_a_gradient_flows(self) -> None:
        x, w, _, _ = tensors()
        kept: dict = {}
        with onednn.repeated(kept):
            linear(x, w)
        with torch.no_grad():
            linear(x, w)
        assert not kept

    @needs
    def test_a_solve_makes_the_part_of_x_dense_once_and_packs_it_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        used: list[Tensor] = []
        evaluate = onednn._evaluate
        monkeypatch.setattr(onednn, "_evaluate", lambda x, w, *rest: used.append(w) or evaluate(x, w, *rest))
        net = nn.Sequential(nn.Linear(12, 6), nn.Tanh())
        layer = fpi.FPI_NN(net, solver=fpi.Picard(criterion=fpi.Relative(0.0), max_iter=20, on_failure="ignore"))
        with torch.no_grad():
            layer(torch.randn(5, 6))
        of_x = used[1:]  # the first is of z
        assert [w.is_mkldnn for w in of_x] == [False] * 7 + [True] * 13
        assert len({id(w) for w in of_x}) == 3
