"""tasks.vae.cache and celeba: decoding once, checksums, and data that are not all there."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from tasks.engine.data import DataNotFoundError
from tasks.vae import celeba
from tasks.vae.cache import ImageFileError, Opener, cached


def jpeg(seed: int, width: int = 20, height: int = 24) -> bytes:
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (5, 4, 3), dtype=np.uint8))
    buffer = BytesIO()
    small.resize((width, height)).save(buffer, "JPEG")
    return buffer.getvalue()


def files(count: int = 5) -> list[Opener]:
    return [(f"{i}.jpg", lambda i=i: jpeg(i)) for i in range(count)]  # type: ignore[misc]


def test_images_are_cropped_and_resized_as_torchvision_does(tmp_path: Path) -> None:
    images = cached(tmp_path, "a", "key", files(), 16, 8)
    assert images.shape == (5, 3, 8, 8) and images.dtype == np.uint8
    for i, image in enumerate(images):
        picture = Image.open(BytesIO(jpeg(i)))
        expected = transforms.resize(transforms.center_crop(picture, [16, 16]), [8, 8])
        torch.testing.assert_close(torch.from_numpy(image.copy()), transforms.pil_to_tensor(expected))


def test_a_cache_is_made_once_and_again_only_when_it_must(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read: list[int] = []

    def counted() -> list[Opener]:
        return [(f"{i}.jpg", lambda i=i: read.append(i) or jpeg(i)) for i in range(3)]  # type: ignore[misc, func-returns-value]

    first = np.array(cached(tmp_path, "a", "key", counted(), 16, 8))
    assert np.array_equal(cached(tmp_path, "a", "key", counted(), 16, 8), first) and len(read) == 3
    content = bytearray((tmp_path / "a.npy").read_bytes())
    content[-1] ^= 1
    (tmp_path / "a.npy").write_bytes(content)
    assert np.array_equal(cached(tmp_path, "a", "key", counted(), 16, 8), first) and len(read) == 6
    assert "checksum" in capsys.readouterr().err
    cached(tmp_path, "a", "other files", counted(), 16, 8)
    assert len(read) == 9
    cached(tmp_path, "a", "other files", counted(), 12, 8)
    assert len(read) == 12
    assert not list(tmp_path.glob("*.part"))


def test_files_that_are_no_images_are_named_and_nothing_is_kept(tmp_path: Path) -> None:
    bad: list[Opener] = [
        *files(2),
        ("text.jpg", lambda: b"not an image"),
        ("cut.jpg", lambda: jpeg(0, 200, 200)[:400]),
        ("small.jpg", lambda: jpeg(0, 10, 30)),
    ]
    with pytest.raises(ImageFileError) as error:
        cached(tmp_path, "a", "key", bad, 16, 8)
    text = str(error.value)
    assert "3 of 5 files" in text and "text.jpg: not an image" in text and "cut.jpg: " in text
    assert "small.jpg: 10 × 30 pixels" in text
    assert not (tmp_path / "a.npy").exists() and not list(tmp_path.glob("*.part"))


# CelebA


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's layout with six images."""
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(celeba, "COUNT", 6)
    root = tmp_path / "celeba"
    (root / celeba.IMAGES).mkdir(parents=True)
    for i in range(6):
        (root / celeba.IMAGES / f"{i + 1:06d}.jpg").write_bytes(jpeg(i))
    lines = [f"{i + 1:06d}.jpg {part}\n" for i, part in enumerate([0, 0, 0, 1, 2, 2])]
    (root / celeba.PARTITION).write_text("".join(lines))
    return root


def test_the_partition_says_what_is_trained_on(layout: Path) -> None:
    source = celeba.celeba()
    assert source.parts == [0, 0, 0, 1, 2, 2] and source.files[4][1]() == jpeg(4)
    before = source.key
    (layout / celeba.IMAGES / "000002.jpg").write_bytes(jpeg(2, 30, 30))
    assert celeba.celeba().key != before


def test_a_missing_partition_file_is_named(layout: Path) -> None:
    (layout / celeba.PARTITION).unlink()
    with pytest.raises(DataNotFoundError, match=r"list_eval_partition.txt is missing.*Fix"):
        celeba.celeba()


def test_fewer_images_than_listed_are_counted(layout: Path) -> None:
    (layout / celeba.IMAGES / "000003.jpg").unlink()
    with pytest.raises(DataNotFoundError, match=r"has 5 of the 6 images .* is 000003.jpg"):
        celeba.celeba()


@pytest.mark.parametrize(("text", "message"), [("a.jpg 0\nb.jpg\n", "line 2"), ("a.jpg 0\n", "lists 1 images")])
def test_a_damaged_partition_file_is_refused(layout: Path, text: str, message: str) -> None:
    (layout / celeba.PARTITION).write_text(text)
    with pytest.raises(DataNotFoundError, match=message):
        celeba.celeba()


def test_no_celeba_at_all_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match="profile=sample"):
        celeba.celeba()
    with pytest.raises(DataNotFoundError, match="celeba-half"):
        celeba.half_scale(1)


def test_the_half_scale_zip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(celeba, "HALF_COUNT", 4)
    path = tmp_path / "celeba" / celeba.HALF_ZIP
    path.parent.mkdir()
    with ZipFile(path, "w") as archive:
        for i in range(4):
            archive.writestr(f"folder/{i + 1:06d}.jpg", jpeg(i))
    source = celeba.half_scale(1)
    assert source.parts == [0, 0, 0, 2] and source.files[3][1]() == jpeg(3)
    assert "other images than those of data/manifest.yaml" in " ".join(capsys.readouterr().err.split())
    content = path.read_bytes()
    place = content.index(jpeg(2)) + 50
    path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
    with pytest.raises(ImageFileError, match="000003.jpg: not an image"):
        cached(tmp_path / "cache", "a", "key", celeba.half_scale(1).files, 16, 8)
    monkeypatch.setattr(celeba, "HALF_COUNT", 5)
    with pytest.raises(DataNotFoundError, match="has 4 of 5 images; .* 000005.jpg"):
        celeba.half_scale(1)
    path.write_bytes(content[:200])
    with pytest.raises(DataNotFoundError, match="not a whole zip file"):
        celeba.half_scale(1)
