"""What g may do wrong, and where it may run: every misuse is named, and the layer is usable afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fpi
from tests.fpi.problems import DOUBLE, make_nn

SOLVERS = [fpi.Picard, fpi.Anderson, fpi.Broyden]


class Counted(nn.Module):
    """g = 0.5 cos(w x) + z until evaluation ``at``, and then something else."""

    def __init__(self, then: Callable[[Tensor], Tensor], at: int = 3) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.9))
        self.then, self.at, self.n = then, at, 0

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        self.n += 1
        return self.then(x) if self.n == self.at else 0.5 * torch.cos(self.w * x) + z


def fails(x: Tensor) -> Tensor:
    raise ZeroDivisionError("inside g")


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("at", [1, 3])
class TestMisuse:
    def solve(self, then: Callable[[Tensor], Tensor], kind: type[fpi.Solver], at: int) -> Tensor:
        return fpi.FPILayer(Counted(then, at), solver=kind())(torch.ones(4, 3))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize("samples", [slice(1, 2), slice(None)])
    def test_what_is_not_finite_is_announced(self, kind, at: int, value: float, samples: slice) -> None:
        def spoil(x: Tensor) -> Tensor:
            out = 0.5 * x
            out[samples] = value
            return out

        with pytest.raises(fpi.FixedPointError, match=rf"(nan|inf) at iteration {at}"):
            self.solve(spoil, kind, at)

    def test_another_shape(self, kind, at: int) -> None:
        with pytest.raises(ValueError, match=r"expected \(4, 3\).*got \(4, 1\)"):
            self.solve(lambda x: x[:, :1], kind, at)

    def test_another_dtype(self, kind, at: int) -> None:
        with pytest.raises(ValueError, match=r"float32 on cpu, got .* torch.float64"):
            self.solve(lambda x: x.double(), kind, at)

    def test_another_device(self, kind, at: int) -> None:
        with pytest.raises(ValueError, match=r"on cpu, got .* on meta"):
            self.solve(lambda x: x.to("meta"), kind, at)

    def test_another_structure(self, kind, at: int) -> None:
        with pytest.raises(ValueError, match="structure of its state"):
            self.solve(lambda x: (x, x), kind, at)

    def test_in_place_changes_of_the_state(self, kind, at: int) -> None:
        with pytest.raises(ValueError, match="changes its state x in place"):
            self.solve(lambda x: x.mul_(0.5).add_(1), kind, at)

    def test_exceptions_pass_through(self, kind, at: int) -> None:
        with pytest.raises(ZeroDivisionError, match="inside g"):
            self.solve(fails, kind, at)


class TestInitialState:
    def test_wrong_shape(self) -> None:
        layer = make_nn()
        z = torch.zeros(5, 3, dtype=DOUBLE)
        for shape in ((1, 4), (6, 4), (5, 3)):
            with pytest.raises((ValueError, RuntimeError), match=r"size|shape"):
                layer(z, torch.zeros(shape, dtype=DOUBLE))
        with pytest.raises(ValueError, match=r"expected \(1, 2\).*got \(5, 2\)"):
            fpi.fixed_point(lambda x, z: 0.5 * x + z, torch.zeros(1, 2), torch.zeros(5, 2))

    def test_wrong_dtype_or_device(self) -> None:
        z = torch.zeros(5, 2, dtype=DOUBLE)
        with pytest.raises(ValueError, match=r"expected .* torch.float32 .* got .* torch.float64"):
            fpi.fixed_point(lambda x, z: 0.5 * x + z, torch.zeros(5, 2), z)
        with pytest.raises((ValueError, RuntimeError), match="meta"):
            fpi.fixed_point(lambda x, z: 0.5 * x + z, torch.zeros(5, 2, dtype=DOUBLE, device="meta"), z)

    @pytest.mark.parametrize("x0", [None, 1.0, [], torch.zeros(2, 3, dtype=torch.long), [torch.zeros(2, 3), None, 1]])
    def test_what_is_no_state(self, x0: object) -> None:
        with pytest.raises(TypeError, match="floating-point"):
            fpi.fixed_point(lambda x: x, x0)

    @pytest.mark.parametrize("x0", [torch.tensor(1.0), [torch.zeros(2, 1), torch.zeros(3, 1)]])
    def test_a_state_without_a_common_batch(self, x0: object) -> None:
        with pytest.raises(ValueError, match="first dimension"):
            fpi.fixed_point(lambda x: x, x0)


@pytest.mark.parametrize("order", [1, 2])
def test_an_exception_in_backward_leaves_the_layer_as_it_was(make_layer, order: int, z: Tensor) -> None:
    layer = make_layer()
    own = dict(layer.named_parameters())
    expected = torch.autograd.grad(layer(z).sum(), z)[0]
    inner = layer.g.forward
    value = layer(z).square().sum()
    layer.g.forward = lambda x, z: fails(x)
    with pytest.raises(ZeroDivisionError):
        torch.autograd.grad(value, z, create_graph=order == 2)
    layer.g.forward = inner
    assert all(parameter is own[name] for name, parameter in layer.named_parameters())
    torch.testing.assert_close(torch.autograd.grad(layer(z).sum(), z)[0], expected)
    # nobody holds the lock: another thread solves at once
    thread = threading.Thread(target=layer, args=(z,), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


class TestModes:
    def test_without_gradients(self, make_layer, z: Tensor) -> None:
        layer = make_layer()
        expected = layer(z)
        with torch.no_grad():
            assert torch.equal(layer(z), expected) and not layer(z).requires_grad
        with torch.inference_mode():
            assert torch.equal(layer(z), expected) and torch.equal(layer(2 * z / 2), expected)
        layer.requires_grad_(False)
        x = layer(z.detach())
        assert torch.equal(x, expected) and not x.requires_grad

    def test_frozen_parameters_get_none_and_do_not_hinder_the_others(self, make_layer, z: Tensor) -> None:
        layer = make_layer()
        expected = torch.autograd.grad(layer(z).sum(), z)[0]
        layer.requires_grad_(False)
        layer(z).sum().backward()
        torch.testing.assert_close(z.grad, expected)
        assert all(p.grad is None for p in layer.parameters())

    @pytest.mark.parametrize("scale", [1.0, 2.0**16])
    @pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
    def test_autocast_and_loss_scaling(self, scale: float, inside: bool) -> None:
        """bfloat16 products in g, a float32 state; a loss scaled by a power of two scales the gradients by it."""
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 5))
        fpi.contraction.scale_parameters_(net, 0.5)
        solver = fpi.Picard(criterion=fpi.Relative(1e-4))
        layer, z = fpi.FPI_NN(net, solver=solver, adjoint=fpi.BackwardFPI(solver)), torch.randn(4, 3)
        exact = torch.autograd.grad(layer(z).sum(), list(net.parameters()))

        def gradients(scale: float) -> list[Tensor]:
            layer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                x = layer(z)
                loss = scale * x.sum()
                if inside:
                    loss.backward()
            if not inside:
                loss.backward()
            assert x.dtype == torch.float32
            return [p.grad / scale for p in net.parameters()]

        for found, one, full in zip(gradients(scale), gradients(1.0), exact, strict=True):
            assert torch.equal(found, one) and found.dtype == torch.float32
            torch.testing.assert_close(found, full, rtol=0.1, atol=0.05 * float(full.abs().max()))

    def test_a_compiled_g(self, z: Tensor) -> None:
        """A recorded evaluation is differentiated many times: torch must not donate the compiled graph's buffers."""
        torch.manual_seed(0)
        layer = make_nn()

        def derivatives() -> list[Tensor]:
            inputs = [z, *layer.parameters()]
            first = torch.autograd.grad(layer(z).square().sum(), inputs)
            along = torch.autograd.grad(layer(z).square().sum(), z, create_graph=True)[0].sum()
            return [*first, *torch.autograd.grad(along, inputs), torch.func.jacrev(lambda z: layer(z).sum())(z)]

        expected = derivatives()
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        layer.g = torch.compile(layer.g, backend="aot_eager")
        with torch._functorch.config.patch(donated_buffer=False):
            for found, other in zip(derivatives(), expected, strict=True):
                torch.testing.assert_close(found, other, rtol=1e-10, atol=1e-12)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2  # with and without a tape
