"""FPI_NN and FPI_GD on Bibtex: closed forms, the contraction budget, and parity with the authors' trained energy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fpi
from tasks.bibtex.models.fpi import FPIGD, FPINN, LabelEnergy


def make_nn(**options: object) -> FPINN:
    solver = fpi.Anderson(criterion=fpi.Relative(1e-12), mixing=0.3)
    return FPINN(12, 5, 16, solver, fpi.BackwardFPI(), **options)  # type: ignore[arg-type]


def test_energy_gradient_equals_autograd() -> None:
    torch.manual_seed(0)
    energy = LabelEnergy(12, 5, 16).double()
    x, z = torch.randn(3, 5, dtype=torch.float64, requires_grad=True), torch.rand(3, 12, dtype=torch.float64)
    injected = energy.inject(z)
    value = energy(x, injected)
    (expected,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(energy.gradient(x, injected), expected)
    both = energy.value_and_gradient(x, injected)
    torch.testing.assert_close(both[0], value)
    torch.testing.assert_close(both[1], expected)


def test_hoisted_energy_is_the_energy_of_the_concatenation() -> None:
    torch.manual_seed(0)
    energy = LabelEnergy(12, 5, 16)
    x, z = torch.randn(3, 5), torch.rand(3, 12)
    joint = torch.cat([z, torch.sigmoid(x)], 1)
    expected = torch.relu(joint @ energy.weight.T + energy.bias).square().mean(1)
    torch.testing.assert_close(energy(x, energy.inject(z)), expected)


def test_the_contraction_budget_holds_after_every_step() -> None:
    torch.manual_seed(0)
    model = make_nn(lipschitz=0.9)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.3)
    z, y = torch.rand(8, 12), (torch.rand(8, 5) < 0.3).float()
    for _ in range(5):
        optimiser.zero_grad()
        model.loss(z, y).backward()
        optimiser.step()
        model.after_step()
        assert fpi.contraction.lipschitz_bound(model.layer, 5) <= 0.9 + 1e-5


@pytest.mark.parametrize("make", [make_nn, lambda: FPIGD(12, 5, 16, 1.0, fpi.LBFGS(max_iter=200), fpi.JacobianFree())])
def test_training_lowers_the_loss_and_reports_the_solver(make) -> None:
    torch.manual_seed(0)
    model = make()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    z = (torch.rand(32, 12) < 0.3).float()
    y = torch.cat([z[:, :3], z[:, :2] * z[:, 2:4]], 1)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = model.loss(z, y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert model.solver_metrics()["forward_iterations"] >= 1
    assert model.g_evaluations >= 60
    probabilities = model.predict(z)
    assert probabilities.shape == (32, 5) and 0 <= probabilities.min() and probabilities.max() <= 1


@pytest.mark.data
def test_the_authors_trained_energy_scores_as_published(fpi_data: Path) -> None:
    """Table 5.1's FPI_GD, from the authors' own weights: F1 ≥ 43.2 on the whole test set, at a critical point."""
    from tasks.bibtex.arff import read_sparse_arff
    from tasks.bibtex.metrics import f1_scores

    solver = fpi.LBFGS(criterion=fpi.Absolute(1e-5, scope="batch"), max_iter=200, first_step=100.0)
    model = FPIGD(1836, 159, 512, 1.0, solver, fpi.JacobianFree())
    model.load_energy(load_file(fpi_data / "bibtex" / "authors-fpi-gd.safetensors"))
    z, y = (t.float() for t in read_sparse_arff(fpi_data / "bibtex" / "bibtex-test.arff", 1836, 159))
    info = model.layer.info
    probabilities = model.predict(z)
    info = model.layer.info
    assert info is not None and info.converged.all() and info.evaluations <= 100
    assert f1_scores(probabilities, y.float(), torch.tensor([0.5]))["f1"][0] >= 43.2

    energy = model.layer.g.energy  # type: ignore[union-attr]
    with torch.no_grad():
        injected = energy.inject(z[:256])
        x = model.layer(z[:256])
        descended = energy(x, injected).mean()
        plain = torch.zeros_like(x)
        for _ in range(2000):
            plain = plain - energy.gradient(plain, injected)
        assert descended < energy(plain, injected).mean()  # a solution, not a plateau that meets the criterion
