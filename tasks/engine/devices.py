"""The device that a script was asked for."""

from __future__ import annotations

import torch


def named(name: str) -> torch.device:
    """The device of `--device NAME`. Raises ValueError naming those that are here."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["cpu", *["cuda"] * bool(count), *(f"cuda:{index}" for index in range(count))]
    here += ["mps"] * torch.backends.mps.is_available()
    if name not in here:
        raise ValueError(f"--device {name}: there is no such device here, choose {' or '.join(here)}")
    return torch.device(name)
