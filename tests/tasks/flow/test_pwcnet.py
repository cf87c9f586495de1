"""PWC-Net: shapes, loading by key, and parity with NVlabs' own output where the weights are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.engine.data import search_places
from tasks.flow.pwcnet import PWCNet, load_pwcnet


def found(path: str) -> Path | None:
    return next((folder / path for folder, _ in search_places() if (folder / path).exists()), None)


def test_parameters_are_the_published_networks() -> None:
    with torch.device("meta"):
        network = PWCNet()
    assert sum(p.numel() for p in network.parameters()) == 9_374_340
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["conv6aa.0.weight"] == (196, 128, 3, 3) and shapes["conv6b.0.weight"] == (196, 196, 3, 3)
    assert shapes["conv2_0.0.weight"] == (128, 81 + 32 + 4, 3, 3) and shapes["conv6_0.0.weight"] == (128, 81, 3, 3)
    assert shapes["dc_conv1.0.weight"] == (128, 565, 3, 3) and shapes["upfeat3.weight"] == (597, 2, 4, 4)


def test_any_size_and_weights_saved_by_data_parallel_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PWCNet().eval()
    path = tmp_path / "pwc_net.pth.tar"
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    loaded = load_pwcnet(path)
    assert not loaded.training
    frames = torch.rand(2, 1, 3, 50, 70)
    with torch.no_grad():
        flow = loaded(*frames)
        torch.testing.assert_close(flow, network(*frames))
    assert flow.shape == (1, 2, 50, 70)


def test_a_file_with_other_keys_is_named_with_them(tmp_path: Path) -> None:
    path = tmp_path / "pwc_net.pth.tar"
    state = PWCNet().state_dict()
    state["conv7.weight"] = state.pop("conv1a.0.weight")
    state["conv1a.0.bias"] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(
        ValueError, match=r"1 missing \(conv1a.0.weight\); 1 unknown \(conv7.weight\); 1 of another shape"
    ):
        load_pwcnet(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds a list"):
        load_pwcnet(path)
    with pytest.raises(FileNotFoundError, match="fetch pwc_net.pth.tar"):
        load_pwcnet(tmp_path / "none.tar")


@pytest.mark.data
def test_parity_with_the_published_output() -> None:
    weights, reference = found("flow/pwc_net.pth.tar"), found("flow/pwc_reference")
    if weights is None or reference is None:
        pytest.skip(
            "needs NVlabs' weights flow/pwc_net.pth.tar (fetched by the user) and flow/pwc_reference in FPI_DATA"
        )
    frames = [np.asarray(Image.open(reference / f"frame_00{n}.png").convert("RGB")) for n in (10, 11)]
    pair = [torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255 for frame in frames]
    content = np.fromfile(reference / "reference_frame_0010_pytorch.flo", "<f4")[3:]
    expected = torch.from_numpy(content.reshape(*frames[0].shape[:2], 2)).permute(2, 0, 1)
    with torch.no_grad():
        flow = load_pwcnet(weights)(*pair)[0]
    assert (flow - expected).norm(dim=0).mean() < 0.05  # pixels; resizing differs in its rounding
