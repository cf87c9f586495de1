"""tasks.classification.data and sources: splits, standardisation, augmentation, files and what is wrong with them."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.classification import sources
from tasks.classification.data import Cifar10LosslessData, DigitsData, MnistData, augmented
from tasks.engine import data as engine


def digits(**options: object) -> DigitsData:
    data = DigitsData(**({"image_shape": (1, 16, 16), "batch_size": 50} | options))  # type: ignore[arg-type]
    data.setup()
    return data


def test_digits_are_split_once_and_for_all() -> None:
    train, test = sources.digits(8, 1)
    assert (len(train), len(test)) == (1437, 360) and train.images.dtype == torch.uint8
    assert set(torch.bincount(test.labels).tolist()) <= {35, 36, 37}
    again = sources.digits(16, 3)[1]
    assert torch.equal(again.labels, test.labels) and again.images.shape == (360, 3, 16, 16)
    assert torch.equal(again.images[:, 0], again.images[:, 2])
    rows = {tuple(image.flatten().tolist()) for image in train.images}
    assert not any(tuple(image.flatten().tolist()) in rows for image in test.images)


def test_training_images_are_standardised_and_evaluation_uses_their_statistics() -> None:
    data = digits(image_shape=(3, 8, 8))
    images = torch.cat([images for images, _ in data.train_dataloader()])
    assert images.shape == (1437, 3, 8, 8) and images.is_floating_point()
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    tested = torch.cat([images for images, _ in data.test_dataloader()])
    expected = (sources.digits(8, 3)[1].images - data.mean) / data.deviation
    torch.testing.assert_close(tested, expected)


def test_the_honest_hold_out_is_of_training_images_and_depends_on_the_seed() -> None:
    paper, honest, other = digits(), digits(holdout=0.1, seed=1), digits(holdout=0.1, seed=2)
    assert paper.val is paper.test and len(paper.train or ()) == 1437
    assert len(honest.train or ()) == 1293 and len(honest.val) == 144
    assert torch.equal(honest.test.images, paper.test.images)
    assert not torch.equal(honest.val.images, other.val.images)
    assert torch.equal(digits(holdout=0.1, seed=1).val.images, honest.val.images)


def test_counts_limit_the_sets() -> None:
    data = digits(n_train=70, n_test=30, batch_size=40)
    assert [len(labels) for _, labels in data.train_dataloader()] == [40, 30]
    assert sum(len(labels) for _, labels in data.test_dataloader()) == 30
    images, labels = data.first_training_images(5)
    assert images.shape == (5, 1, 16, 16) and labels.shape == (5,)


def test_augmentation_shifts_and_flips_and_nothing_else() -> None:
    torch.manual_seed(0)
    image = torch.arange(1.0, 2 * 6 * 5 + 1).reshape(1, 2, 6, 5)
    padded = torch.nn.functional.pad(image, (4,) * 4)[0]
    windows = {
        (top, left, flip): (padded.flip(2) if flip else padded)[:, top : top + 6, left : left + 5]
        for top in range(9) for left in range(9) for flip in (False, True)
    }  # fmt: skip
    seen = set()
    for out in augmented(image.expand(2000, -1, -1, -1)):
        if out.abs().sum() == 0:
            continue  # shifted out of sight altogether? not by 4 of 5
        match = [key for key, window in windows.items() if torch.equal(window, out)]
        assert len(match) == 1
        seen.add(match[0])
    assert len(seen) == 162  # every shift, with and without the flip


def test_augmentation_is_for_training_alone() -> None:
    data = digits(augment=True)
    first, again = (next(iter(data.train_dataloader()))[0] for _ in range(2))
    assert not torch.equal(first, again)  # fresh at every pass
    first, again = (next(iter(data.test_dataloader()))[0] for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"holdout": 1.0}, r"data.holdout must be in \[0, 1\)"),
        ({"holdout": 0.001, "n_train": 20}, "leaves none on one side of 20 images"),
        ({"batch_size": 0}, "data.batch_size must be at least 1, got 0"),
        ({"n_test": 0}, "data.n_test must be at least 1"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        digits(**options)


def test_images_of_another_shape_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "mnist", lambda: sources.digits(28, 3))
    with pytest.raises(ValueError, match=r"MNIST has images of shape \(3, 28, 28\).*data.image_shape is \(1, 28, 28\)"):
        MnistData((1, 28, 28), 50).setup()


def test_a_file_that_fails_its_checksum_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(engine, "DATA_DIR", tmp_path / "none")
    target = tmp_path / "classification" / "cifar10_lossless_4000.npz"
    target.parent.mkdir()
    target.write_bytes(b"x" * 11_344_491)  # the right size
    with pytest.raises(
        engine.DataNotFoundError, match=r"cifar10_lossless_4000\.npz has sha256 .*expected 013f9793e84b"
    ):
        Cifar10LosslessData((3, 32, 32), 50).setup()
    (target.parent / "mnist.npz").write_bytes(b"x" * 11_490_519)
    both = r"mnist\.npz has sha256 (.|\n)*train-images-idx3-ubyte\.gz is missing(.|\n)*make data-mnist"
    with pytest.raises(engine.DataNotFoundError, match=both):
        MnistData((1, 28, 28), 50).setup()


def test_mnists_original_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = {"train": np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4), "t10k": np.ones((1, 3, 4), np.uint8)}
    for which, array in images.items():
        head = b"\0\0\x08\x03" + np.array(array.shape, ">i4").tobytes()
        (tmp_path / f"{which}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
        labels = b"\0\0\x08\x01" + np.array([len(array)], ">i4").tobytes() + bytes(range(7, 7 + len(array)))
        (tmp_path / f"{which}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))

    def four_files(name: str) -> Path:
        if name != "mnist":
            raise engine.DataNotFoundError("no such file")
        return tmp_path

    monkeypatch.setattr(sources, "locate", four_files)
    train, test = sources.mnist()
    assert torch.equal(train.images[:, 0], torch.from_numpy(images["train"])) and train.labels.tolist() == [7, 8]
    assert test.images.shape == (1, 1, 3, 4) and test.labels.tolist() == [7]


def test_jpeg_folders_give_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "images.zip"
    with ZipFile(path, "w") as archive:
        for file, level in {"train/cat/0000": 40, "train/cat/0001": 70, "train/truck/0000": 200}.items():
            Image.new("RGB", (32, 32), (level, level, level)).save(tmp_path / "x.jpg")
            archive.write(tmp_path / "x.jpg", f"{file}.jpg")
        archive.write(tmp_path / "x.jpg", "test/airplane/0000.jpg")
    monkeypatch.setattr(sources, "locate", lambda name: path)
    train, test = sources.cifar10_jpeg()
    assert train.labels.tolist() == [3, 9, 3] and test.labels.tolist() == [0]  # the first few have all classes
    assert [int(image.float().mean().round()) for image in train.images] == [40, 200, 70]
    with ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    monkeypatch.setattr(sources, "locate", lambda name: tmp_path / "other.zip")
    with pytest.raises(engine.DataError, match="has no images where train/CLASS"):
        sources.cifar10_jpeg()


def test_torchvisions_arrays_become_labelled_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        def __init__(self, root: str, split: str) -> None:
            assert root == str(tmp_path) and split in ("train", "test")
            self.data = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
            self.labels = np.array([1, 9])

    monkeypatch.setattr(sources, "locate", lambda name: tmp_path)
    monkeypatch.setattr("torchvision.datasets.SVHN", Fake)
    for part in sources.svhn():
        assert part.images.shape == (2, 3, 4, 5) and part.labels.tolist() == [1, 9]
        assert part.images[0, :, 0, 0].tolist() == [0, 20, 40] and part.labels.dtype == torch.int64


def write_cifar(folder: Path, records: dict[str, bytes]) -> None:
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, content in records.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_cifars_records_are_a_label_and_three_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "locate", lambda name: tmp_path)
    image = bytes([10]) * 1024 + bytes([20]) * 1024 + bytes([30]) * 1024
    batches = {name: bytes([label]) + image for label, name in enumerate(sources.CIFAR_TRAIN)}
    write_cifar(tmp_path, {**batches, "readme.html": b"", "test_batch.bin": bytes([9]) + image + bytes([8]) + image})
    train, test = sources.cifar10()
    assert train.labels.tolist() == [0, 1, 2, 3, 4] and test.labels.tolist() == [9, 8]
    assert train.images.shape == (5, 3, 32, 32) and train.images[4, :, 5, 6].tolist() == [10, 20, 30]
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # nothing was unpacked
    write_cifar(tmp_path, {**batches, "test_batch.bin": image})
    with pytest.raises(engine.DataError, match="no whole number of records"):
        sources.cifar10()
    write_cifar(tmp_path, batches)
    with pytest.raises(engine.DataNotFoundError, match="lacks test_batch.bin"):
        sources.cifar10()


@pytest.mark.data
def test_real_files(fpi_data: Path) -> None:
    if engine.is_available("mnist-npz"):
        train, test = sources.mnist()
        assert train.images.shape == (60_000, 1, 28, 28) and torch.bincount(test.labels)[1] == 1135
    if engine.is_available("cifar10-lossless"):
        assert [tuple(part.images.shape) for part in sources.cifar10_lossless()] == [
            (3200, 3, 32, 32),
            (800, 3, 32, 32),
        ]
