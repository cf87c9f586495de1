"""tasks.flow.readers and splits: pairing, splits, and what is said of missing or odd files before training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision.datasets
from PIL import Image

from tasks.engine import data
from tasks.flow import readers, splits
from tasks.flow.io import FLO_MAGIC, write_flo, write_kitti_png
from tasks.flow.readers import OddFilesError, load_pair, verify
from tasks.flow.shapes import FlyingShapes, write_chairs

SHAPES = FlyingShapes(0, 32, 48, objects=(2, 3), procedural=1, natural=False, outlines=5)


@pytest.fixture
def chairs(tmp_path: Path) -> Path:
    """Six pairs in FlyingChairs' layout, two of them for validation."""
    write_chairs(SHAPES, tmp_path / "FlyingChairs", 0, 6, validation_every=3)
    return tmp_path / "FlyingChairs"


def write_frames(folder: Path, names: list[str], value: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", (48, 32), (value + i, 0, 0)).save(folder / name)


@pytest.fixture
def sintel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two short sequences; bamboo_2's last pair is a validation pair."""
    monkeypatch.setattr(readers, "SINTEL_FRAMES", {"alley_1": 3, "bamboo_2": 3})
    monkeypatch.setitem(splits.SINTEL_VALIDATION, "bamboo_2", (2, 2))
    training = tmp_path / "Sintel/training"
    for s, sequence in enumerate(("bamboo_2", "alley_1")):
        names = [f"frame_{i:04d}.png" for i in (1, 2, 3)]
        for kind in ("clean", "final"):
            write_frames(training / kind / sequence, names, value=10 * s)
        (training / "flow" / sequence).mkdir(parents=True)
        for i in (1, 2):
            write_flo(training / "flow" / sequence / f"frame_{i:04d}.flo", torch.full((2, 32, 48), s + i / 10))
    return tmp_path / "Sintel"


def test_chairs_are_those_of_torchvision(chairs: Path) -> None:
    for split, names in (("train", ["00001", "00002", "00004", "00005"]), ("val", ["00003", "00006"])):
        ours = readers.chairs(split, chairs)
        assert [pair.name for pair in ours] == [f"chairs/{name}" for name in names]
        verify(ours)
        theirs = torchvision.datasets.FlyingChairs(str(chairs.parent), split)
        assert len(theirs) == len(ours)
        for files, (image1, image2, flow) in zip(ours, theirs, strict=True):
            sample = load_pair(files)
            for frame, image in (("frame1", image1), ("frame2", image2)):
                assert torch.equal(sample[frame], torchvision.transforms.functional.pil_to_tensor(image) / 255)
            assert torch.equal(sample["flow"], torch.from_numpy(flow)) and sample["valid"].all()


def test_sintel_pairs_neighbours_inside_a_sequence(sintel: Path) -> None:
    train, val = readers.sintel("train", "clean", sintel), readers.sintel("val", "final", sintel)
    assert [pair.name for pair in train] == [
        "sintel/clean/alley_1/frame_0001", "sintel/clean/alley_1/frame_0002", "sintel/clean/bamboo_2/frame_0001",
    ]  # fmt: skip
    assert [pair.name for pair in val] == ["sintel/final/bamboo_2/frame_0002"]
    verify(train + val)
    pairs = {pair.flow.parent.name + pair.flow.name: load_pair(pair) for pair in train + val}
    theirs = torchvision.datasets.Sintel(str(sintel.parent), "train", "clean")
    assert len(theirs) == len(pairs) == 4
    for image1, _, flow in theirs:  # in the file system's order
        (ours,) = [pair for pair in pairs.values() if torch.equal(pair["flow"], torch.from_numpy(flow))]
        assert torch.equal(ours["frame1"], torchvision.transforms.functional.pil_to_tensor(image1) / 255)


def test_sintel_masks_what_its_authors_call_invalid(sintel: Path) -> None:
    mask = Image.new("L", (48, 32))
    mask.putpixel((5, 7), 255)
    for sequence in ("alley_1", "bamboo_2"):
        (sintel / "training/invalid" / sequence).mkdir(parents=True)
        for i in (1, 2):
            mask.save(sintel / f"training/invalid/{sequence}/frame_{i:04d}.png")
    sample = load_pair(readers.sintel("train", root=sintel)[0])
    assert (~sample["valid"]).nonzero().tolist() == [[0, 7, 5]]
    assert sample["flow"][:, 7, 5].tolist() == [0, 0] and sample["flow"][:, 7, 6].abs().min() > 0


def test_kitti_is_that_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "KITTI_PAIRS", 2)
    training = tmp_path / "KittiFlow/training"
    write_frames(training / "image_2", [f"{i:06d}_{j}.png" for i in (0, 1) for j in (10, 11)])
    (training / "flow_occ").mkdir()
    valid = torch.rand(32, 48, generator=torch.Generator().manual_seed(0)) > 0.5
    for i in (0, 1):
        write_kitti_png(training / f"flow_occ/{i:06d}_10.png", torch.full((2, 32, 48), i + 0.5), valid)
    ours = readers.kitti(tmp_path / "KittiFlow")
    verify(ours)
    for files, (_, _, flow, mask) in zip(ours, torchvision.datasets.KittiFlow(str(tmp_path)), strict=True):
        sample = load_pair(files)
        assert torch.equal(sample["valid"][0], torch.as_tensor(mask)) and torch.equal(sample["valid"][0], valid)
        assert torch.equal(sample["flow"][:, valid], torch.as_tensor(flow)[:, valid])


def test_missing_and_odd_files_are_named_all_at_once(chairs: Path) -> None:
    (chairs / "data/00001_img2.ppm").unlink()
    (chairs / "data/00002_flow.flo").write_bytes((chairs / "data/00002_flow.flo").read_bytes()[:-100])
    (chairs / "data/00004_img1.ppm").write_bytes((chairs / "data/00004_img1.ppm").read_bytes()[:200])
    (chairs / "data/00005_flow.flo").write_bytes(b"EIPH" + b"\0" * 40)
    with pytest.raises(OddFilesError, match="^4 files") as caught:
        verify(readers.chairs("train", chairs))
    for part in ("00001_img2.ppm: No such file", "00002_flow.flo: truncated", "00004_img1.ppm: truncated",
                 "00005_flow.flo: magic number b'EIPH'", "Fix:"):  # fmt: skip
        assert part in str(caught.value), part
    verify(readers.chairs("val", chairs))


def test_truncated_png_is_seen_without_decoding_it(sintel: Path) -> None:
    path = sintel / "training/clean/alley_1/frame_0002.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OddFilesError, match="alley_1/frame_0002.png: truncated"):
        verify(readers.sintel("train", root=sintel))


def test_long_lists_are_cut(chairs: Path) -> None:
    (chairs / "FlyingChairs_train_val.txt").write_text("1\n" * 40)
    with pytest.raises(OddFilesError, match=r"^102 files[\s\S]*\.\.\. and 82 more"):
        verify(readers.chairs("train", chairs))


def test_frames_of_different_sizes_are_refused(chairs: Path) -> None:
    Image.new("RGB", (40, 32)).save(chairs / "data/00001_img2.ppm")
    pairs = readers.chairs("train", chairs)
    for act in (lambda: verify(pairs), lambda: load_pair(pairs[0])):
        with pytest.raises(OddFilesError, match=r"different sizes: .*img1.ppm is 48x32, .*img2.ppm is 40x32"):
            act()


def test_nan_in_the_ground_truth_is_masked_and_counted(chairs: Path) -> None:
    flow = torch.ones(2, 32, 48)
    flow[0, 3, 4:7] = float("nan")
    flow[1, 0, 0] = float("inf")
    write_flo(chairs / "data/00001_flow.flo", flow)
    with pytest.warns(UserWarning, match=r"00001_flow.flo: 4 of 1,536 pixels"):
        sample = load_pair(readers.chairs("train", chairs)[0])
    assert (~sample["valid"]).sum() == 4 and not sample["valid"][0, 3, 4:7].any()
    assert sample["flow"].isfinite().all() and sample["flow"].sum() == 2 * (32 * 48 - 4)


def test_unreadable_split_file_is_refused(chairs: Path) -> None:
    (chairs / "FlyingChairs_train_val.txt").write_text("1\n3\n")
    with pytest.raises(OddFilesError, match="FlyingChairs_train_val.txt: expected a line of 1"):
        readers.chairs("train", chairs)


def test_absent_data_set_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(data, "DATA_DIR", tmp_path / "none")
    with pytest.raises(data.DataNotFoundError, match=f"FPI_DATA={tmp_path}[\\s\\S]*make data-flyingchairs"):
        readers.chairs("train")
    (tmp_path / "flyingchairs/FlyingChairs_release/data").mkdir(parents=True)  # as the zip file unpacks
    assert len(readers.chairs("train")) == 22_232 and len(readers.chairs("val")) == 640


def test_only_two_passes_and_three_real_sets() -> None:
    with pytest.raises(ValueError, match="clean and final, not 'albedo'"):
        readers.sintel("train", "albedo", Path("."))
    with pytest.raises(ValueError, match="'kitti'; there are: chairs, sintel, middlebury"):
        readers.real_pairs(["kitti"])


def test_absent_real_pairs_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(data, "DATA_DIR", tmp_path / "none")
    with pytest.raises(
        data.DataNotFoundError, match=r"flow/sintel/.* is missing[\s\S]*leave sintel out of data.real_sets"
    ):
        readers.real_pairs(["sintel"])


@pytest.mark.data
def test_splits_are_the_official_lists(fpi_data: Path) -> None:
    marks = (fpi_data / "flow/splits/FlyingChairs_train_val.txt").read_text().split()
    assert {i for i, mark in enumerate(marks, 1) if mark == "2"} == splits.chairs_validation()
    assert len(marks) == splits.CHAIRS_PAIRS and marks.count("2") == 640
    ours = [
        "2" if splits.sintel_validation(sequence, frame) else "1"
        for sequence, frames in sorted(splits.SINTEL_FRAMES.items())
        for frame in range(1, frames)
    ]
    assert ours == (fpi_data / "flow/splits/Sintel_train_val.txt").read_text().split()
    assert (ours.count("1"), ours.count("2")) == (908, 133)


@pytest.mark.data
def test_real_pairs_are_complete_and_their_unknown_pixels_masked(fpi_data: Path) -> None:
    pairs = readers.real_pairs(["chairs", "sintel", "middlebury"])
    kinds = [pair.name.split("/")[0] for pair in pairs]
    assert {kind: kinds.count(kind) for kind in kinds} == {"chairs": 9, "sintel": 9, "middlebury": 5}
    verify(pairs)
    unknown = {pair.name: int((~load_pair(pair)["valid"]).sum()) for pair in pairs}
    assert unknown["middlebury/Dimetrodon"] > 10_000 and unknown["middlebury/Urban2"] == 0
    assert unknown["sintel/clean_cave_2_0002"] == 96 and unknown["chairs/0000000"] == 0


def test_flo_magic_is_the_float_of_the_format() -> None:
    assert torch.frombuffer(bytearray(FLO_MAGIC), dtype=torch.float32).item() == 202021.25
