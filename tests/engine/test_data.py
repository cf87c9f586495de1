"""The look-up of data: which folder wins, what is refused, and what the message says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine import data
from tasks.engine.data import DataDamagedError, DataNotFoundError, locate
from tests.engine.data_files import GOOD, TRUNCATED, write_manifest
from tests.engine.data_files import manifest as manifest


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """FPI_DATA and data/, both empty folders of this test."""
    first, second = tmp_path / "mine", tmp_path / "data"
    monkeypatch.setenv("FPI_DATA", str(first))
    monkeypatch.setattr(data, "DATA_DIR", second)
    for place in (first, second):
        (place / "bibtex").mkdir(parents=True)
    return first, second


def test_locate_prefers_fpi_data(places: tuple[Path, Path], manifest: Path) -> None:
    mine, project = places
    (project / "bibtex/train.arff").write_bytes(GOOD)
    assert locate("bibtex", manifest=manifest) == project / "bibtex"
    (mine / "bibtex/train.arff").write_bytes(GOOD)
    assert locate("bibtex", manifest=manifest) == mine / "bibtex"
    assert locate("bibtex/train.arff", manifest=manifest) == mine / "bibtex/train.arff"


def test_locate_names_file_places_and_fix(places: tuple[Path, Path], manifest: Path) -> None:
    assert not data.is_available("bibtex", manifest=manifest)
    with pytest.raises(DataNotFoundError) as caught:
        locate("bibtex", manifest=manifest)
    for part in ("bibtex/train.arff", f"FPI_DATA={places[0]}", str(places[1]), "make data-bibtex", "set FPI_DATA"):
        assert part in str(caught.value)


def test_of_many_missing_files_a_few_are_named(places: tuple[Path, Path]) -> None:
    with pytest.raises(DataNotFoundError, match=r"and \d+ more\n") as caught:
        locate("train400")
    assert str(caught.value).count(" is missing") == 2 * data.NAMED and "make data-train400" in str(caught.value)


def test_locate_offers_no_download_where_there_is_none(places: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="on request only") as caught:
        locate("bibtex", manifest=write_manifest(tmp_path / "manifest.yaml", url=None))
    assert "make data" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(TRUNCATED, "34,000 bytes, expected 68,000"), (GOOD[:-1] + b"?", "has sha256")]
)
def test_locate_refuses_damaged_files(places: tuple[Path, Path], manifest: Path, content: bytes, message: str) -> None:
    (places[0] / "bibtex/train.arff").write_bytes(content)
    with pytest.raises(DataDamagedError, match=f"^data 'bibtex' damaged\n.*{message}") as caught:
        locate("bibtex", manifest=manifest)
    assert caught.value.damaged == [places[0] / "bibtex/train.arff"]
    assert "not found" not in str(caught.value)
    (places[0] / "bibtex/train.arff").unlink()
    with pytest.raises(DataNotFoundError, match="^data 'bibtex' not found\n") as caught:
        locate("bibtex", manifest=manifest)


def test_file_that_changes_is_verified_again(places: tuple[Path, Path], manifest: Path) -> None:
    path = places[0] / "bibtex/train.arff"
    path.write_bytes(GOOD)
    assert data.is_available("bibtex", manifest=manifest)
    path.write_bytes(GOOD[:-1] + b"?")
    assert not data.is_available("bibtex", manifest=manifest)


def test_a_file_without_a_checksum_only_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match="make data-flyingchairs"):
        locate("flyingchairs")
    (tmp_path / "flyingchairs").mkdir()
    (tmp_path / "flyingchairs" / "FlyingChairs.zip").write_bytes(b"whatever")
    assert locate("flyingchairs") == tmp_path / "flyingchairs"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folder"),
    [("bibtex", "bibtex"), ("bibtex-authors", "bibtex"), ("train400", "denoising/train400")],
)
def test_the_real_files_are_those_of_the_manifest(fpi_data: Path, name: str, folder: str) -> None:
    assert locate(name) == fpi_data / folder


def test_an_archive_may_lie_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(data, "DATA_DIR", tmp_path / "none")
    with pytest.raises(
        DataNotFoundError, match="FlyingChairs.zip or flyingchairs/FlyingChairs_release/data/00001_img1"
    ):
        locate("flyingchairs")
    folder = tmp_path / "flyingchairs/data"
    folder.mkdir(parents=True)
    (folder / "00001_img1.ppm").touch()
    assert locate("flyingchairs") == folder
    (tmp_path / "flyingchairs/FlyingChairs.zip").touch()
    assert locate("flyingchairs") == tmp_path / "flyingchairs"
