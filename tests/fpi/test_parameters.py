"""What a solve knows of a module's parameters: as torch lists them, and whether they are still the same."""

from __future__ import annotations

import torch
from torch import nn

from fpi.parameters import modules_of, parameters_of, registered_as


def network() -> nn.Sequential:
    shared = nn.Linear(3, 3)
    inner = nn.Sequential(shared, nn.ReLU(), nn.Sequential(nn.Conv2d(1, 2, 3), shared))
    net = nn.Sequential(nn.Linear(3, 3), inner, shared, nn.BatchNorm1d(3))
    net.tied = net[0]
    net.missing = None
    net[3].weight = inner[2][0].bias  # one tensor by two names
    return net


def test_modules_and_parameters_are_listed_as_torch_lists_them() -> None:
    net = network()
    assert list(modules_of(net).items()) == list(net.named_modules())
    named, _ = parameters_of(modules_of(net))
    assert list(named) == [name for name, _ in net.named_parameters()]
    assert all(named[name] is parameter for name, parameter in net.named_parameters())


def test_another_parameter_or_module_in_a_place_is_noticed() -> None:
    net = network()
    named, slots = parameters_of(modules_of(net))
    parameters = list(named.values())
    assert registered_as(slots, parameters)
    assert not registered_as(slots, [torch.zeros_like(parameters[0]), *parameters[1:]])
    own, net[0].weight = net[0].weight, nn.Parameter(torch.zeros(3, 3))
    assert not registered_as(slots, parameters)
    net[0].weight = own
    assert registered_as(slots, parameters)
    net[1][1] = nn.Tanh()
    assert not registered_as(slots, parameters)
