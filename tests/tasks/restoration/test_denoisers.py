"""tasks.restoration.denoisers: our own, and the published ones from HDF5 files."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tasks.engine.data import DataNotFoundError, locate
from tasks.restoration.denoisers import OwnDenoiser, PublishedDenoisers, load_published
from tasks.restoration.sources import embedded


def write_keras(path: Path, channels: int = 1, width: int = 64, layers: int = 7, value: float = 0.0) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        names = [part for i in range(layers) for part in (f"conv2d_{i}", f"activation_{i}")][:-1]
        group.attrs["layer_names"] = np.array(names, dtype="S")
        for i in range(layers):
            inputs, outputs = channels if i == 0 else width, 1 if i == layers - 1 else width
            layer = group.create_group(f"conv2d_{i}").create_group(f"conv2d_{i}")
            layer["kernel:0"] = np.full((3, 3, inputs, outputs), value, dtype=np.float32)
            layer["bias:0"] = np.full(outputs, 0.25 if i == layers - 1 else 0.0, dtype=np.float32)


def test_a_keras_file_is_read(tmp_path: Path) -> None:
    write_keras(tmp_path / "net1.hdf5")
    net = load_published(tmp_path / "net1.hdf5")
    x = torch.rand(1, 1, 9, 8)
    assert torch.equal(net(x), torch.full_like(x, 0.25))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 3}, r"net1.hdf5, conv2d_0: channels .* \(64, 3, 3, 3\), expected .*gray images"),
        ({"layers": 6}, "6 convolutions, expected 7"),
        ({"value": np.nan}, "not finite"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, options: dict, message: str) -> None:
    write_keras(tmp_path / "net1.hdf5", **options)
    with pytest.raises(ValueError, match=message):
        load_published(tmp_path / "net1.hdf5")


def test_our_own_takes_a_level_an_image() -> None:
    torch.manual_seed(0)
    net, x = OwnDenoiser(4, [1, 2, 1]), torch.rand(2, 1, 8, 8)
    levels = torch.tensor([5.0, 40.0]).reshape(2, 1, 1, 1)
    both = net(x, levels)
    assert torch.allclose(both[:1], net(x[:1], 5.0)) and torch.allclose(both[1:], net(x[1:], 40.0))
    assert not torch.allclose(net(x, 5.0), net(x, 40.0))


@pytest.mark.data
def test_the_published_denoisers_denoise(fpi_data: Path) -> None:
    if not (fpi_data / "restoration" / "podm-denoisers").is_dir():
        pytest.skip("needs restoration/podm-denoisers in FPI_DATA")
    nets = PublishedDenoisers(locate("podm-denoisers"))
    image = embedded(6, 4, 64, 96)[1][0][1][None]
    generator = torch.Generator().manual_seed(0)
    for level in (10, 25, 50):
        noisy = image + level / 255 * torch.randn(image.shape, generator=generator)
        with torch.no_grad():
            error = (nets(noisy, level) - image).square().mean()
        assert float(error) < 0.25 * (level / 255) ** 2
    with torch.no_grad():  # number ⌈σ / 2⌉
        assert torch.equal(nets(image, 9.5), image - nets.nets[4](image))
        assert torch.equal(nets(image, 100.0), image - nets.nets[24](image))


@pytest.mark.data
def test_a_failing_checksum_is_said(fpi_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fpi_data / "restoration" / "podm-denoisers"
    if not source.is_dir():
        pytest.skip("needs restoration/podm-denoisers in FPI_DATA")
    target = tmp_path / "restoration" / "podm-denoisers"
    target.mkdir(parents=True)
    for path in source.glob("*.hdf5"):
        shutil.copyfile(path, target / path.name)
    content = bytearray((target / "net7.hdf5").read_bytes())
    content[-1] ^= 1
    (target / "net7.hdf5").write_bytes(content)
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=f"net7.hdf5 has sha256 {hashlib.sha256(content).hexdigest()[:12]}"):
        locate("podm-denoisers")
