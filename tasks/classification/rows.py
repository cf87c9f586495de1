"""The rows of the tables, what they are called, which belong together, and how to pick their runs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.store import Run

MNIST, SVHN, CIFAR10 = "classification", "classification-svhn", "classification-cifar10"
PROTOCOLS = {"paper": "paper's protocol, test-selected", "honest": "honest protocol"}
ADJOINTS = {"jfb": "JFB", "normal_cg": "Jacobian-based (CG)", "backward_fpi": "BackwardFPI"}
ROWS = {
    MNIST: {
        "fc_explicit": "Explicit (fully connected)",
        "fc_mon": "MON (fully connected)",
        "fc_jfb": "FPN (fully connected)",
        "fc_backward_fpi": "FPN (fully connected), BackwardFPI",
        "fc_normal_cg": "FPN (fully connected), Jacobian-based",
        "conv_explicit": "Explicit (convolution)",
        "conv_mon": "MON (convolution; 8 channels unless profile=paper)",
        "conv_jfb": "FPN (convolution)",
        "conv_backward_fpi": "FPN (convolution), BackwardFPI",
        "conv_normal_cg": "FPN (convolution), Jacobian-based",
    },
    SVHN: {
        "explicit": "Explicit",
        "mon": "MON (single convolution; 8 channels unless profile=paper)",
        "jfb": "FPN",
        "backward_fpi": "FPN, BackwardFPI",
        "normal_cg": "FPN, Jacobian-based",
    },
    CIFAR10: {
        "explicit": "Explicit",
        "mon": "MON (single convolution; 8 channels unless profile=paper)",
        "jfb": "FPN",
        "backward_fpi": "FPN, BackwardFPI",
        "normal_cg": "FPN, Jacobian-based",
        "aug_explicit": "Explicit, augmented data",
        "aug_jfb": "FPN, augmented data",
        "aug_backward_fpi": "FPN, augmented data, BackwardFPI",
        "aug_normal_cg": "FPN, augmented data, Jacobian-based",
    },
}
# Models trained by each adjoint: prefix of their rows, and what they are called. The first is the paper's figure's.
FAMILIES = {
    MNIST: {"conv_": "convolutional FPN", "fc_": "fully connected FPN"},
    SVHN: {"": "FPN"},
    CIFAR10: {"aug_": "FPN on augmented data", "": "FPN"},
}
FIGURES = {MNIST: "figure6", SVHN: "figure7", CIFAR10: "figure5"}
# Table 1's numbers of others, as the paper quotes them from Dupont et al. (2019) and Winston & Kolter (2020).
REPORTED = {
    MNIST: {
        "Neural ODE (convolution)": 96.4,
        "Aug. Neural ODE (convolution)": 98.2,
        "MON (fully connected)": 98.2,
        "MON (convolution)": 99.2,
    },
    SVHN: {"Neural ODE": 81.0, "Aug. Neural ODE": 83.5, "MON (single convolution)": 88.8, "MON (multi-tier lg)": 92.3},
    CIFAR10: {
        "Neural ODE": 53.7,
        "Aug. Neural ODE": 60.6,
        "MON (single convolution)": 74.1,
        "MON (multi-tier lg), augmented data": 89.7,
    },
}


def by_seed(runs: Sequence[Run], row: str, protocol: str) -> dict[int, Run]:
    """The finished runs of a row in a protocol, by seed."""
    return {run.seed: run for run in runs if run.row == row and run.protocol == protocol}


def task_of(runs: Sequence[Run]) -> str:
    """The task that all the runs belong to."""
    return str(runs[0].run["task"])
