"""Files of the published flow data sets as lists of pairs, checked before anything is trained.

Folders are as in torchvision's dataset classes (FlyingChairs/data, Sintel/training, KittiFlow/training), which tests
compare with. The classes themselves are not used: they pair files by their place in a listing (one missing file
shifts all that follow), take MPI-Sintel's sequences in the file system's order, and name no file in their errors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tasks.engine.data import DataNotFoundError, locate, search_places
from tasks.engine.manifest import DataError
from tasks.flow.io import FlowFileError, flo_size, image_size, read_flow, read_image
from tasks.flow.splits import CHAIRS_PAIRS, SINTEL_FRAMES, chairs_validation, sintel_validation

CHAIRS_LIST = "FlyingChairs_train_val.txt"
KITTI_PAIRS = 200  # KITTI 2015
SHOWN = 20  # odd files named in an error
REAL_SETS = {"chairs": "flow-chairs", "sintel": "flow-sintel", "middlebury": "flow-middlebury"}  # manifest entries
# below a data folder: the unpacked zip file of `make data-flyingchairs`, its content, torchvision's place
CHAIRS_FOLDERS = ("flyingchairs/FlyingChairs_release", "flyingchairs", "flow/FlyingChairs")
CONTENT = {"FlyingChairs": "data", "Sintel": "training", "KittiFlow": "training"}
FIXES = {
    "FlyingChairs": "`make data-flyingchairs` (31 GB) and unzip data/flyingchairs/FlyingChairs.zip where it is, "
    "or set FPI_DATA to a folder that has it (data/README.md)",
    "Sintel": "get it from http://sintel.is.tue.mpg.de and unzip it as flow/Sintel below FPI_DATA (data/README.md)",
    "KittiFlow": "get it from https://www.cvlibs.net/datasets/kitti and unzip it as flow/KittiFlow below FPI_DATA "
    "(data/README.md)",
}


class OddFilesError(DataError):
    """Files of a data set that are missing, unreadable or of other sizes than their partners; all are named."""


@dataclass(frozen=True)
class PairFiles:
    name: str  # for people, e.g. chairs/00001
    frame1: Path
    frame2: Path
    flow: Path
    invalid: Path | None = None  # an image, not 0 where the ground truth is not valid (MPI-Sintel)


def chairs(split: str, root: Path | None = None) -> list[PairFiles]:
    """FlyingChairs (Dosovitskiy et al. 2015), or generated pairs in its layout; split: train | val.

    `root` has data/00001_img1.ppm, data/00001_img2.ppm, data/00001_flow.flo, ...; FlyingChairs_train_val.txt beside
    data/ gives the split (a line a pair, 1: train, 2: val); without it the official split of 22,872 pairs holds.
    """
    root = root or _folder("FlyingChairs")
    listing = root / CHAIRS_LIST
    if listing.exists():
        marks = listing.read_text(encoding="utf-8").split()
        if not marks or set(marks) - {"1", "2"}:
            raise OddFilesError(f"{listing}: expected a line of 1 (train) or 2 (val) a pair. Fix: download it anew.")
    else:
        validation = chairs_validation()
        marks = ["2" if number in validation else "1" for number in range(1, CHAIRS_PAIRS + 1)]
    data, wanted = root / "data", {"train": "1", "val": "2"}[split]
    stems = [f"{number:05d}" for number, mark in enumerate(marks, 1) if mark == wanted]
    return [
        PairFiles(f"chairs/{s}", data / f"{s}_img1.ppm", data / f"{s}_img2.ppm", data / f"{s}_flow.flo") for s in stems
    ]


def sintel(split: str, pass_name: str = "clean", root: Path | None = None) -> list[PairFiles]:
    """MPI-Sintel's training set (Butler et al. 2012) split into train (908 pairs) | val (133); pass: clean | final."""
    if pass_name not in ("clean", "final"):
        raise ValueError(f"MPI-Sintel has the passes clean and final, not {pass_name!r}")
    training = (root or _folder("Sintel")) / "training"
    invalid = training / "invalid"
    pairs = []
    for sequence, frames in SINTEL_FRAMES.items():
        for frame in range(1, frames):
            if sintel_validation(sequence, frame) != {"train": False, "val": True}[split]:
                continue
            first, second = (f"{sequence}/frame_{number:04d}" for number in (frame, frame + 1))
            images, flow = training / pass_name, training / "flow" / f"{first}.flo"
            mask = invalid / f"{first}.png" if invalid.exists() else None
            pairs.append(
                PairFiles(f"sintel/{pass_name}/{first}", images / f"{first}.png", images / f"{second}.png", flow, mask)
            )
    return pairs


def kitti(root: Path | None = None) -> list[PairFiles]:
    """KITTI 2015's 200 training pairs (Menze and Geiger 2015), sparse ground truth with occluded pixels."""
    training = (root or _folder("KittiFlow")) / "training"
    images, flows = training / "image_2", training / "flow_occ"
    stems = [f"{number:06d}" for number in range(KITTI_PAIRS)]
    return [
        PairFiles(f"kitti/{s}", images / f"{s}_10.png", images / f"{s}_11.png", flows / f"{s}_10.png") for s in stems
    ]


def middlebury(root: Path | None = None) -> list[PairFiles]:
    """Middlebury's sequences with ground truth (Baker et al. 2011).

    `root` has a folder a sequence, each with frame10.png, frame11.png and flow10.flo.
    """
    root = root or locate("flow-middlebury").parent
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    return [PairFiles(f"middlebury/{f.name}", f / "frame10.png", f / "frame11.png", f / "flow10.flo") for f in folders]


def real_pairs(sets: Sequence[str]) -> list[PairFiles]:
    """The fixed evaluation set of real pairs: chairs (9), sintel (9: 5 clean, 4 final), middlebury (5).

    Checksums are verified. Raises tasks.engine.data.DataNotFoundError, ValueError for another name.
    """
    pairs = []
    for name in sets:
        if name not in REAL_SETS:
            raise ValueError(f"no real pairs called {name!r}; there are: {', '.join(REAL_SETS)}")
        try:
            folder = locate(REAL_SETS[name])
        except DataNotFoundError as error:
            raise DataNotFoundError(f"{error}\n  Or leave {name} out of data.real_sets.") from error
        if name == "chairs":
            stems = [path.name.removesuffix("-gt.flo") for path in sorted(folder.glob("*-gt.flo"))]
            files = [(s, folder / f"{s}-img0.ppm", folder / f"{s}-img1.ppm", folder / f"{s}-gt.flo") for s in stems]
            pairs += [PairFiles(f"chairs/{stem}", *paths) for stem, *paths in files]
        elif name == "sintel":
            for place in sorted(path for path in folder.parent.iterdir() if path.is_dir()):
                invalid = place / "invalid.png"
                files3 = (place / "img1.png", place / "img2.png", place / "flow.flo")
                pairs.append(PairFiles(f"sintel/{place.name}", *files3, invalid if invalid.exists() else None))
        else:
            pairs += middlebury(folder.parent)
    return pairs


def verify(pairs: Iterable[PairFiles]) -> None:
    """Look at every file's header and length; raises OddFilesError naming what is missing or odd, OK in silence."""
    odd = [problem for pair in pairs for problem in _problems(pair)]
    if odd:
        shown = odd[:SHOWN] + ([f"... and {len(odd) - SHOWN} more"] if len(odd) > SHOWN else [])
        raise OddFilesError(
            f"{len(odd)} files are missing or odd:\n  " + "\n  ".join(shown) + "\nFix: copy or download them anew."
        )


def load_pair(files: PairFiles) -> dict[str, Tensor]:
    """frame1, frame2 (3, H, W) float32 in [0, 1]; flow (2, H, W) float32 pixels; valid (1, H, W) bool.

    The flow is 0 where it is not valid.

    Raises FlowFileError for a file that cannot be read, OddFilesError for files of different sizes.
    """
    frame1, frame2 = read_image(files.frame1), read_image(files.frame2)
    flow, valid = read_flow(files.flow)
    sizes = {files.frame1: frame1.shape[1:], files.frame2: frame2.shape[1:], files.flow: flow.shape[1:]}
    if files.invalid is not None:
        mask = read_image(files.invalid)[0] == 0
        sizes[files.invalid] = mask.shape
        if mask.shape == valid.shape:
            valid = valid & mask
    if problem := _different({path: (size[0], size[1]) for path, size in sizes.items()}):
        raise OddFilesError(f"{problem}. Fix: the files of a pair must have one size; download them anew.")
    return {
        "frame1": frame1.float() / 255,
        "frame2": frame2.float() / 255,
        "flow": torch.where(valid, flow, 0.0),
        "valid": valid[None],
    }


def _problems(files: PairFiles) -> list[str]:
    problems, sizes = [], {}
    for path in (files.frame1, files.frame2, files.flow, files.invalid):
        if path is None:
            continue
        try:
            sizes[path] = flo_size(path) if path.suffix == ".flo" else _whole_image(path)
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
        except FlowFileError as error:
            problems.append(str(error).removesuffix(" Fix: copy or download this file anew."))
    if not problems and (problem := _different(sizes)):
        problems.append(problem)
    return problems


def _whole_image(path: Path) -> tuple[int, int]:
    """(H, W), having looked whether the file ends where it should: a PPM by its length, a PNG by its last chunk."""
    height, width = image_size(path)
    length = path.stat().st_size
    if path.suffix == ".ppm":
        if length < 3 * height * width:
            raise FlowFileError(path, f"truncated: {length:,} bytes", f"more than {3 * height * width:,}")
    elif path.suffix == ".png":
        with open(path, "rb") as stream:
            stream.seek(-12, 2)
            if struct.unpack(">I4s", stream.read(8)) != (0, b"IEND"):
                raise FlowFileError(path, "truncated: it does not end as a PNG does", "a whole PNG file")
    return height, width


def _different(sizes: dict[Path, tuple[int, int]]) -> str | None:
    """The sizes, if they are not all the same."""
    if len(set(sizes.values())) == 1:
        return None
    return "different sizes: " + ", ".join(f"{path} is {width}x{height}" for path, (height, width) in sizes.items())


def _folder(name: str) -> Path:
    candidates = CHAIRS_FOLDERS if name == "FlyingChairs" else (f"flow/{name}",)
    for place, _ in search_places():
        for folder in candidates:
            if (place / folder / CONTENT[name]).is_dir():
                return place / folder
    labels = " or ".join(label for _, label in search_places())
    wanted = " or ".join(f"{folder}/{CONTENT[name]}" for folder in candidates)
    raise DataNotFoundError(f"data '{name}' not found: there is no folder {wanted} in {labels}.\n  Fix: {FIXES[name]}.")
