"""Which devices a script takes."""

from __future__ import annotations

import pytest
import torch

from tasks.engine import devices


def test_devices_that_are_not_here_are_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.named("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:0", "foo", "meta", ""):
        with pytest.raises(ValueError, match=f"--device {name}: there is no such device here, choose cpu$"):
            devices.named(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.named("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="choose cpu or cuda or cuda:0 or cuda:1$"):
        devices.named("cuda:2")
