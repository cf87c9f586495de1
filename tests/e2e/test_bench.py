"""The core's benchmark at tiny sizes: contestants solve every form of g, the command writes what it measured."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.e2e.tiny import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "bench"))  # scripts import their neighbours

import cases
import contestant
import curves
import jax_maps
import peers_jax
import peers_torch
import plot
import report
from case import Case, flat

TINY: dict[str, Callable[[], Case]] = {
    "mlp": lambda: cases.mlp(24, 4, slow=True),
    "conv": lambda: cases.conv(12, 2, hidden=4),
    "energy": lambda: cases.generated_energy(4, 20, 6, 24),
    "rates": lambda: cases.rates(16, 4, hard=0.9),
}
needs_jax = pytest.mark.skipif(not jax_maps.available(), reason="needs jax, jaxopt and optimistix: make setup-bench")
needs_torchdeq = pytest.mark.skipif(
    importlib.util.find_spec("torchdeq") is None, reason="needs torchdeq: make setup-bench"
)


def check(case: Case, settings: list[contestant.Setting]) -> None:
    """Every setting finds the fixed point; of every contestant's settings the best finds the gradient."""
    assert settings
    errors: dict[str, float] = {}
    for setting in settings:
        tight = 1e-6 if setting.steps is None else setting.steps
        if setting.forward is not None:
            x, evaluations = setting.read(setting.forward(tight)())
            assert case.residual(x) < 1e-3, f"{setting.contestant}, {setting.label}"
            assert evaluations >= 2
        if setting.gradient is not None:
            assert setting.read_gradient is not None
            found = setting.read_gradient(setting.gradient(tight)())
            error = float((found - case.gradient).norm().nan_to_num(nan=float("inf")) / case.gradient.norm())
            errors[setting.contestant] = min(errors.get(setting.contestant, float("inf")), error)
    assert errors and max(errors.values()) < 1e-2, errors


@pytest.mark.parametrize("form", TINY)
def test_bare_loops_and_this_library_solve_the_case(form: str) -> None:
    case = TINY[form]()
    check(case, peers_torch.bare(case) + peers_torch.ours(case))


@needs_torchdeq
@pytest.mark.parametrize("form", ["mlp", "conv", "rates"])
def test_torchdeq_solves_the_case(form: str) -> None:
    case = TINY[form]()
    check(case, peers_torch.torchdeq(case))


@needs_jax
@pytest.mark.parametrize("form", TINY)
def test_the_map_in_jax_is_the_map_in_torch(form: str) -> None:
    case = TINY[form]()
    inject, g, energy = jax_maps.maps(case)
    parameters, z, x = jax_maps.to_jax((dict(case.g.named_parameters()), case.z, case.v))
    with torch.no_grad():
        source = case.g.inject(case.z)
        torch.testing.assert_close(jax_maps.to_torch(g(parameters, x, inject(parameters, z))), case.g(case.v, source))
        if energy is not None:
            value = jax_maps.to_torch(energy(parameters, x, inject(parameters, z)))
            torch.testing.assert_close(value, case.g.energy(case.v, source))


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize("form", ["mlp", "energy"])
def test_jax_solves_the_case(form: str) -> None:
    case = TINY[form]()
    check(case, peers_jax.settings(case))


def test_the_reference_gradient_is_that_of_the_unrolled_iteration() -> None:
    case = TINY["mlp"]()
    z, x = case.z.double(), case.x0.double()
    for _ in range(400):
        x = case.exact(x, case.exact.inject(z))
    expected = flat(torch.autograd.grad(case.loss(x), list(case.exact.parameters())))
    torch.testing.assert_close(case.gradient, expected, rtol=1e-7, atol=1e-9)


def synthetic(error: Callable[[float], float], steps: int | None = None) -> tuple[contestant.Setting, Any]:
    setting = contestant.Setting("some Picard", "", lambda knob: lambda: knob, lambda r: r, steps=steps)
    return setting, lambda result: (error(result), {})


def test_the_search_finds_the_loosest_tolerance() -> None:
    setting, judge = synthetic(lambda tolerance: 0.02 * tolerance)
    assert setting.forward is not None
    found, _ = curves.search(setting, setting.forward, judge, 1e-4, 1e-4, float("inf"))
    assert found is not None and 0.5e-4 <= found.error <= 1e-4
    stalled, stalled_judge = synthetic(lambda tolerance: 0.1)
    assert curves.search(stalled, setting.forward, stalled_judge, 1e-4, 1e-4, float("inf"))[0] is None


def test_the_search_crosses_plateaus_of_the_error() -> None:
    setting, judge = synthetic(lambda tolerance: 10.0 ** round(2 * math.log10(tolerance) / 3))
    assert setting.forward is not None
    found, _ = curves.search(setting, setting.forward, judge, 1e-4, 3e-4, float("inf"))
    assert found is not None and found.error == 1e-4


def test_a_plateau_of_the_energy_is_no_solution() -> None:
    case = cases.generated_energy(4, 200, 12, 48)
    far = torch.full_like(case.x0, 100.0)  # sigmoid saturates: no gradient is left
    assert case.residual(far) < 1e-6
    assert case.error(far) > 1e-2


def test_the_bare_loop_is_told_the_fewest_iterations() -> None:
    setting, judge = synthetic(lambda steps: 0.5**steps, steps=40)
    assert setting.forward is not None
    found, _ = curves.fewest_steps(setting, setting.forward, judge, 1e-3, 1, float("inf"))
    assert found is not None and found.run() == 10
    assert curves.fewest_steps(setting, setting.forward, judge, 1e-15, 1, float("inf"))[0] is None


def test_without_data_the_reason_is_told() -> None:
    problems, skipped = cases.build(["d"], None)
    assert [case.form for case in problems] == ["rates"] and not skipped
    assert "FPI_DATA" in cases.build(["c"], None)[1][0]


def test_the_command_writes_figures_and_a_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "build", lambda keys, data: ([TINY["rates"](), TINY["energy"]()], ["a reason"]))
    monkeypatch.setattr(report, "evaluation", lambda case, repeats: [])
    monkeypatch.setattr(peers_jax, "available", lambda: False)  # its compilation takes a minute
    kept: list[int] = []
    rows, more = report.measure(["d"], 1, lambda rows, more: kept.append(len(rows)))
    assert len(kept) == 2 and kept[0] < kept[1] == len(rows)  # after each case, all so far
    target, picture = tmp_path / "core.json", tmp_path / "core.png"
    report.publish(rows, more, argparse.Namespace(json=str(target), plot=str(picture), threads=1), 1.0)
    record = json.loads(target.read_text())
    assert {"name", "numerator", "denominator", "ratio", "values"} == set(record["rows"][0])
    picard = record["curves"]["d"]["contestants"]["fpi Picard"]
    assert [point["target"] for point in picard] == [1e-2, 1e-4, 1e-6]
    assert all(point["residual"] <= point["target"] and point["evaluations"] > 0 for point in picard)
    assert record["gradients"]["d"]["fpi Anderson"]["error"] <= curves.GRADIENT_TARGET
    assert "a reason" in record["skipped"] and record["versions"].keys() <= set(report.PEERS)
    assert picture.stat().st_size > 10_000 and picture.with_suffix(".svg").is_file()
    assert set(plot.METHODS) >= {name.split()[1] for name in record["curves"]["c generated"]["contestants"]}
