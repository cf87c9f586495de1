"""tasks.vae.features and distances: which networks there are, that they order images sensibly, and bad weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from tasks.engine.data import DataNotFoundError
from tasks.vae import features
from tasks.vae.distances import Distance, build
from tasks.vae.faces import faces
from tasks.vae.features import EXTRACTORS, INCEPTION, Inception, RandomFeatures, available, inception_weights

needs_lite0 = pytest.mark.skipif("fd_lite0" not in available(["fd_lite0"])[0], reason="needs the suite's packages")


def pictures(count: int = 320, size: int = 32) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(faces(2 * count, size, 0))
    return images[:count], images[count:]


def batches(images: Tensor) -> Iterator[Tensor]:
    return iter(images.split(50))


@pytest.mark.parametrize("name", ["fd_random", pytest.param("fd_lite0", marks=needs_lite0)])
def test_distances_order_damage(name: str) -> None:
    first, second = pictures()
    extractor = EXTRACTORS[name]()
    with torch.no_grad():
        assert extractor(first[:2]).shape == (2, extractor.dimensions)
    distance = Distance(name, extractor, lambda: batches(first), lambda: batches(second))
    noise = torch.randn(second.shape, generator=torch.Generator().manual_seed(0))
    noisy = (second + 25 * noise).clamp(0, 255).byte()
    blurred = [gaussian_blur(second, [9, 9], [sigma, sigma]) for sigma in (0.6, 2.0)]
    slightly, strongly, rough = (distance(batches(images)) for images in (*blurred, noisy))
    assert distance(batches(second)) == pytest.approx(distance.floor, rel=1e-6)
    assert distance.floor < slightly < strongly and rough > 1.5 * distance.floor


def test_random_features_are_the_same_everywhere() -> None:
    with torch.no_grad():
        found = RandomFeatures()(torch.full((1, 3, 16, 16), 200, dtype=torch.uint8))
    assert found.shape == (1, 288)
    expected = torch.Generator().manual_seed(20210201)
    kernel = torch.randn(24, 3, 3, 3, generator=expected) * (2 / 27) ** 0.5
    torch.testing.assert_close(RandomFeatures().kernels[0].data, kernel)


def test_too_few_images_are_said_with_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = pictures(40)
    distance = Distance("fd_random", RandomFeatures(), lambda: batches(first), lambda: batches(second))
    said = " ".join(capsys.readouterr().err.split())
    assert "40 images for 288 dimensions" in said and f"is {distance.floor:.4g}" in said
    Distance("fd_random", RandomFeatures(), lambda: batches(first), None)
    assert "is not known" in " ".join(capsys.readouterr().err.split())


def test_unknown_names_are_refused_and_missing_ones_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown distance kid: method.distances takes fid, fd_lite0, fd_random"):
        available(["kid"])
    monkeypatch.setattr(features, "LITE0_PACKAGES", ("no_such_package",))
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    images, _ = pictures(30, 16)
    found, missing = build(list(EXTRACTORS), torch.device("cpu"), lambda: batches(images), None)
    assert [distance.name for distance in found] == ["fd_random"]
    assert "make data-inception" in missing["fid"] and "no_such_package" in missing["fd_lite0"]


@pytest.fixture
def nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder; torch hub's is empty."""
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path


def test_weights_with_another_digest_are_never_used(nowhere_else: Path) -> None:
    with pytest.raises(DataNotFoundError, match="make data-inception"):
        inception_weights()
    for folder in ("hub/checkpoints", "inception"):
        (nowhere_else / folder).mkdir(parents=True)
        (nowhere_else / folder / INCEPTION).write_bytes(b"cut short")
        with pytest.raises(ValueError, match="sha256 .*expected 6726825d"):
            available(["fid"])


@pytest.mark.slow
def test_inception_is_pytorch_fids_with_the_weights_of_the_file(
    nowhere_else: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With made-up weights of the right form: the real ones are a download."""
    from pytorch_fid import inception

    torch.manual_seed(0)
    network = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    network.Mixed_5b = inception.FIDInceptionA(192, pool_features=32)
    for name, channels in (("5c", 64), ("5d", 64)):
        setattr(network, f"Mixed_{name}", inception.FIDInceptionA(256 if name == "5c" else 288, pool_features=channels))
    for name, channels in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        setattr(network, f"Mixed_{name}", inception.FIDInceptionC(768, channels_7x7=channels))
    network.Mixed_7b, network.Mixed_7c = inception.FIDInceptionE_1(1280), inception.FIDInceptionE_2(2048)
    path = nowhere_else / "inception" / INCEPTION
    path.parent.mkdir()
    torch.save(network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(features, "INCEPTION_SHA256", digest[:8])
    extractor = Inception(inception_weights())
    with torch.no_grad():
        assert extractor(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1, 2048)
    loaded = extractor.network.blocks[0][0].conv.weight  # type: ignore[union-attr, index]
    torch.testing.assert_close(loaded, network.Conv2d_1a_3x3.conv.weight)
