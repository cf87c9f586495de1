"""Initialisers: frozen, outside checkpoints, for any size; RAFT-small's published weights under torchvision's names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tasks.engine.data import search_places
from tasks.flow import initialisers
from tasks.flow.initialisers import make

RAFT = next((f / initialisers.WEIGHTS["raft_small"] for f, _ in search_places()), Path())


def moving_square(height: int = 64, width: int = 96, shift: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    texture = torch.nn.functional.interpolate(
        torch.rand(1, 3, height // 4, width // 4 + 4, generator=generator), scale_factor=4, mode="bicubic"
    ).clamp(0, 1)
    return texture[..., shift : shift + width], texture[..., :width]


def test_dis_sees_a_shift() -> None:
    flow = make("dis")(*moving_square())
    assert flow.shape == (1, 2, 64, 96)
    inner = flow[0, :, 16:-16, 16:-16]
    assert (inner[0] - 3).abs().median() < 0.3 and inner[1].abs().median() < 0.3


@pytest.mark.parametrize(("height", "width"), [(1, 1), (11, 12), (12, 40), (40, 15)])
def test_dis_takes_frames_smaller_than_its_patches(height: int, width: int) -> None:
    flow = make("dis")(*(frame[..., :height, :width] for frame in moving_square()))
    assert flow.shape == (1, 2, height, width) and bool(flow.isfinite().all())


def test_an_initialiser_has_no_state_of_its_own() -> None:
    initialiser = make("zero")
    assert not initialiser.state_dict() and not list(initialiser.parameters())
    assert (initialiser(*moving_square()) == 0).all()


def test_unknown_names_and_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="initialiser 'raft' is unknown: choose one of pwcnet, raft_small, dis, zero"):
        make("raft")
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no weights at .*other.pth"):
        make("raft_small", "flow/other.pth")
    torch.save({"module.fnet.conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold weights of RAFT"):
        make("raft_small", str(tmp_path / "other.pth"))


@pytest.mark.data
@pytest.mark.skipif(not RAFT.is_file(), reason="needs flow/raft_small in FPI_DATA")
def test_raft_small_sees_a_shift_in_small_frames() -> None:
    flow = make("raft_small")(*moving_square(60, 100))
    assert flow.shape == (1, 2, 60, 100)
    assert (flow[0, 0, 16:-16, 16:-16] - 3).abs().median() < 0.3
