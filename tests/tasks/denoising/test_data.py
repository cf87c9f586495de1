"""tasks.denoising.data: what each split may see, noise, counts, and the sources."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.denoising.data import (
    DenoisingData,
    EmbeddedData,
    FlyingChairsData,
    FolderData,
    Images,
    Train400Data,
)
from tasks.denoising.sources import TEST_PHOTOGRAPHS, TRAIN_PHOTOGRAPHS, embedded
from tasks.engine.batches import fixed_noise
from tasks.engine.data import DataNotFoundError


class Numbered(DenoisingData):
    """Training images of value i / 100, test images of value 0.5 + i / 100."""

    label, stand_in = "numbered", True

    def load(self) -> Images:
        train = [(f"train{i}", torch.full((1, 4, 4), i / 100)) for i in range(20)]
        test = [(f"test{i}", torch.full((1, 4, 4), 0.5 + i / 100)) for i in range(8)]
        wide = [("wide", torch.full((1, 4, 6), 0.9))]
        return Images(train, {"test": test, "other": [*test[:1], *wide, *test[1:2]]})


def numbered(**options: object) -> Numbered:
    settings: dict = {"sigma": 25, "batch_size": 3, "n_train": 20, "n_test": 8, "eval_batch_size": 5} | options
    data = Numbered(**settings)
    data.setup("fit")
    return data


def seen(loader: torch.utils.data.DataLoader) -> list[float]:
    return [round(float(v), 2) for batch in loader for v in batch[-1][:, 0, 0, 0]]


def test_paper_protocol_validates_on_the_test_images() -> None:
    data = numbered()
    assert sorted(seen(data.train_dataloader())) == [i / 100 for i in range(20)]
    assert seen(data.val_dataloader()) == pytest.approx([0.5 + i / 100 for i in range(8)])


def test_honest_protocol_never_shows_a_test_image() -> None:
    data = numbered(holdout=0.25, seed=3)
    train, val = seen(data.train_dataloader()), seen(data.val_dataloader())
    assert sorted(train + val) == [i / 100 for i in range(20)] and len(val) == 5
    assert sorted(seen(numbered(holdout=0.25, seed=4).val_dataloader())) != val


def test_training_noise_is_fresh_each_epoch_and_a_function_of_seed_and_epoch() -> None:
    data = numbered(n_train=18)
    loader = data.train_dataloader()
    epochs = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        epochs.append(
            {float(t[0, 0, 0]): (n - t) for noisy, truth in loader for n, t in zip(noisy, truth, strict=True)}
        )
    for value in epochs[0]:
        torch.testing.assert_close(epochs[0][value], epochs[2][value])
        assert not torch.equal(epochs[0][value], epochs[1][value])
    other = numbered(seed=1).train_dataloader()
    assert not torch.equal(next(iter(other))[0], next(iter(loader))[0])
    noise = torch.cat([noise.flatten() for epoch in epochs[:2] for noise in epoch.values()])
    assert float(noise.std()) == pytest.approx(25 / 255, rel=0.1)


def test_test_noise_belongs_to_the_image_whatever_the_run() -> None:
    (_, noisy, truth), *_ = numbered(seed=0).test_dataloader()
    (_, again, _), *_ = numbered(seed=7, batch_size=1, eval_batch_size=2).test_dataloader()
    torch.testing.assert_close(again, noisy[:2])
    expected = torch.stack([fixed_noise(f"test{i}", (1, 4, 4)) for i in range(5)])
    torch.testing.assert_close((noisy - truth) * 255 / 25, expected, atol=1e-4, rtol=1e-4)


def test_fixed_noise_is_the_same_on_every_machine() -> None:
    noise = fixed_noise("bsd68/test001.png", (1, 100, 100))
    assert noise.flatten()[:3].tolist() == pytest.approx([0.491354, 1.748499, 1.238195], abs=1e-5)
    assert float(noise.mean()) == pytest.approx(0, abs=0.03) and float(noise.std()) == pytest.approx(1, abs=0.03)


def test_batches_hold_images_of_one_size_and_sets_keep_their_names() -> None:
    batches = [(name, tuple(truth.shape)) for name, _, truth in numbered(robustness=[15, 50]).test_dataloader()]
    assert batches == [
        ("test", (5, 1, 4, 4)),
        ("test", (3, 1, 4, 4)),
        ("other", (1, 1, 4, 4)),
        ("other", (1, 1, 4, 6)),
        ("other", (1, 1, 4, 4)),
        *[("test@15", (5, 1, 4, 4)), ("test@15", (3, 1, 4, 4)), ("test@50", (5, 1, 4, 4)), ("test@50", (3, 1, 4, 4))],
    ]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"sigma": 0}, "data.sigma"),
        ({"sigma": -5}, "data.sigma"),
        ({"robustness": [15, 0]}, "data.robustness"),
        ({"holdout": 1.0}, "data.holdout"),
        ({"holdout": 0.01}, "data.holdout"),
        ({"n_test": 0}, "data.n_test"),
        ({"batch_size": 0}, "data.batch_size"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, object], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        numbered(**options)


def test_too_few_images_are_refused_or_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="20 usable training images, the protocol needs 400"):
        numbered(n_train=400)
    data = numbered(n_train=400, strict=False)
    assert len(data.train) == 20  # type: ignore[arg-type]
    assert "the protocol needs 400: going on with these" in capsys.readouterr().err


# sources


def test_embedded_photographs_are_the_same_bits_everywhere() -> None:
    train, test = embedded(96, 24, 40)
    digest = hashlib.sha256()
    for _, image in [*train, *test]:
        digest.update((image * 255).round().byte().numpy().tobytes())
    assert (len(train), len(test)) == (96, 24)
    assert digest.hexdigest()[:16] == "e0ef6a7e161975fc"


def test_no_photograph_is_in_both_embedded_sets() -> None:
    train, test = embedded(12, 8, 32)
    photographs = [{name.rpartition("-")[0] for name, _ in images} for images in (train, test)]
    assert photographs == [set(TRAIN_PHOTOGRAPHS), set(TEST_PHOTOGRAPHS)] and not photographs[0] & photographs[1]


def test_embedded_crops_larger_than_a_photograph_are_refused() -> None:
    with pytest.raises(ValueError, match="data.crop"):
        EmbeddedData(crop=300, sigma=25, batch_size=2, n_train=6, n_test=4).setup()


def chairs(count: int, side: int = 24) -> dict[str, bytes]:
    files = {}
    for number in range(1, count + 1):
        buffer = BytesIO()
        Image.fromarray(np.full((side, side, 3), number, np.uint8)).save(buffer, "PPM")
        files[f"{number:05d}_img1.ppm"] = buffer.getvalue()
        files[f"{number:05d}_img2.ppm"] = b"the second frame is not read"
    return files


def write_zip(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "flyingchairs" / "FlyingChairs.zip"
    path.parent.mkdir()
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"FlyingChairs_release/data/{name}", content)
    return path


def flying(**options: object) -> FlyingChairsData:
    settings: dict = {"crop": 16, "sigma": 15, "batch_size": 2, "n_train": 4, "n_test": 2} | options
    return FlyingChairsData(**settings)


@pytest.mark.parametrize("packed", [True, False])
def test_flying_chairs_are_the_first_frames_packed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    if packed:
        write_zip(tmp_path, chairs(7))
    else:
        folder = tmp_path / "flyingchairs" / "FlyingChairs_release" / "data"
        folder.mkdir(parents=True)
        for name, content in chairs(7).items():
            (folder / name).write_bytes(content)
    data = flying()
    data.setup()
    assert not data.stand_in and data.train.shape == (4, 1, 16, 16)  # type: ignore[union-attr]
    assert [round(float(image[0, 0, 0]) * 255) for image in data.train] == [1, 2, 3, 4]  # type: ignore[union-attr]
    assert [round(float(image[0, 0, 0]) * 255) for _, image in data.tests["test"]] == [5, 6]


def test_a_damaged_chair_is_named_and_the_paper_profile_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    files = chairs(6)
    files["00003_img1.ppm"] = files["00003_img1.ppm"][:300]
    write_zip(tmp_path, files)
    with pytest.raises(ValueError, match="1 usable test images, the protocol needs 2") as error:
        flying().setup()
    assert "00003_img1.ppm cannot be decoded" in str(error.value)
    data = flying(strict=False)
    data.setup()
    assert len(data.tests["test"]) == 1
    assert "1 images were left out" in capsys.readouterr().err


def test_a_broken_or_missing_archive_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match="make data-flyingchairs"):
        flying().setup()
    path = write_zip(tmp_path, chairs(6))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataNotFoundError, match="not a whole zip file"):
        flying().setup()


def test_a_member_with_other_bytes_is_an_error_of_that_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    path = write_zip(tmp_path, chairs(6))
    content = path.read_bytes()
    place = content.index(bytes([2]) * 100)
    path.write_bytes(content[:place] + b"x" + content[place + 1 :])
    with pytest.raises(ValueError, match="00002_img1.ppm is damaged"):
        flying().setup()


def test_own_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, sizes in (("mine", [40, 40, 12]), ("theirs", [30, 50])):
        (tmp_path / name).mkdir()
        for i, size in enumerate(sizes):
            Image.new("L", (size, size), 10 * i).save(tmp_path / name / f"{i}.png")
    options: dict = {"crop": 20, "sigma": 15, "batch_size": 1, "strict": False}
    data = FolderData(str(tmp_path / "mine"), str(tmp_path / "theirs"), **options)
    data.setup()
    assert data.train.shape == (2, 1, 20, 20) and data.label == "folder mine, test on theirs"  # type: ignore[union-attr]
    assert [image.shape[-1] for _, image in data.tests["test"]] == [30, 50]
    assert "2.png has 12 x 12 pixels" in capsys.readouterr().err
    with pytest.raises(DataNotFoundError, match="train_folder"):
        FolderData(str(tmp_path / "none"), str(tmp_path / "theirs"), **options).setup()


@pytest.mark.data
def test_train400_and_its_test_sets(fpi_data: Path) -> None:
    data = Train400Data(sigma=25, batch_size=4, n_test=68, test_sets=["bsd68", "set12", "bsdsval100"], holdout=0.1)
    data.setup()
    assert data.stand_in and data.label == "train400, test on bsd68"
    assert data.train.shape == (360, 1, 180, 180) and len(data.val) == 40  # type: ignore[union-attr]
    assert {name: len(images) for name, images in data.tests.items()} == {"test": 68, "set12": 12, "bsdsval100": 100}
    assert data.tests["test"][0][0] == "bsd68/test001.png"
