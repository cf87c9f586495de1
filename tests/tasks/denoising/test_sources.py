"""tasks.denoising.sources: the images of each data set, what is damaged or missing, and what an error names."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from tasks.denoising.data import EmbeddedData, FlyingChairsData, FolderData, Train400Data
from tasks.denoising.sources import TEST_PHOTOGRAPHS, TRAIN_PHOTOGRAPHS, embedded
from tasks.engine.data import DataNotFoundError


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
