"""tasks.restoration.data and sources: counts, kernels, noise, determinism, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.engine.batches import fixed_noise
from tasks.restoration.data import EmbeddedData, Train400Data
from tasks.restoration.sources import read_gray


def make(**options: Any) -> EmbeddedData:
    settings = {"problem": "deblur", "sigma": 5, "crop": 24, "test_crop": 32, "kernel_size": 7, "n_kernels": 5}
    settings |= {"n_train": 20, "n_test": 6, "holdout": 0.2, "batch_size": 3, "epoch_batches": 4, "eval_batch_size": 4}
    data = EmbeddedData(**(settings | options))
    data.setup()
    return data


@pytest.mark.parametrize("problem", ["deblur", "denoise", "sr4"])
def test_sets_and_shapes(problem: str) -> None:
    data = make(problem=problem)
    factor = 4 if problem == "sr4" else 1
    assert data.train is not None and data.train.shape == (16, 1, 24, 24) and len(data.val) == 4
    sizes = [len(truth) for _, _, truth in data.test_dataloader()]
    assert sizes == [4, 2]
    for name, found, truth in data.test_dataloader():
        assert name == "test" and truth.shape[1:] == (1, 32, 32)
        assert found.y.shape[-1] * factor == 32 and found.factor == factor
        spread = (found.y - found.apply(truth)).std() * 255
        assert float(spread) == pytest.approx(5, rel=0.2)
    batches = list(data.train_dataloader())
    assert len(batches) == 4 and batches[0][1].shape == (3, 1, 24, 24)


def test_training_is_a_function_of_seed_epoch_and_batch() -> None:
    def batches(seed: int, epoch: int) -> list[torch.Tensor]:
        loader = make(seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        return [problem.y for problem, _ in loader]

    first, again, later, other = batches(0, 0), batches(0, 0), batches(0, 1), batches(1, 0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for another in (later, other, first[1:] + first[:1]):
        assert not any(torch.equal(a, b) for a, b in zip(first, another, strict=True))


def test_test_images_are_the_same_for_all_seeds_and_have_kernels_of_their_own() -> None:
    first, second = make(seed=0), make(seed=1)
    for (_, a, _), (_, b, _) in zip(first.test_dataloader(), second.test_dataloader(), strict=True):
        assert torch.equal(a.y, b.y) and torch.equal(a.otf, b.otf)
    kernels = {tuple(case.kernel.flatten().tolist()) for case in [*first.tests["test"], *first.val]}
    assert len(kernels) == 10  # all differ, validation's from the test's
    trained = {tuple(first.kernel(i).flatten().tolist()) for i in range(5)}
    assert not kernels & trained
    assert torch.equal(fixed_noise("a", (2, 2)), fixed_noise("a", (2, 2)))
    assert not torch.equal(fixed_noise("a", (2, 2)), fixed_noise("b", (2, 2)))


def test_kernels_of_a_file_blur_the_test_images_in_turn(tmp_path: Path) -> None:
    kernels = np.random.default_rng(0).random((2, 5, 5))
    np.save(tmp_path / "mine.npy", kernels / kernels.sum((1, 2), keepdims=True))
    own, usual = make(kernels=str(tmp_path / "mine.npy")), make()
    assert own.label == "embedded photographs, kernels of mine.npy" and "generated" in usual.label
    found = [case.kernel for case in own.tests["test"]]
    for i, kernel in enumerate(found):
        np.testing.assert_allclose(kernel.numpy(), kernels[i % 2] / kernels[i % 2].sum(), rtol=1e-6)
    assert all(torch.equal(a.kernel, b.kernel) for a, b in zip(own.val, usual.val, strict=True))
    assert own.test_dataloader().dataset[0][1].y.isfinite().all()
    with pytest.raises(ValueError, match="data.kernels is for data.problem=deblur, got data.problem=sr4"):
        make(kernels="mine.npy", problem="sr4")
    np.save(tmp_path / "large.npy", np.full((33, 3), 1 / 99))
    with pytest.raises(ValueError, match=r"large\.npy has a kernel of 33 x 3 pixels, larger than .* with 32 x 32"):
        make(kernels=str(tmp_path / "large.npy"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"problem": "inpaint"}, "data.problem must be one of deblur, denoise, sr4"),
        ({"sigma": -1}, "data.sigma must be at least 0"),
        ({"crop": 26}, "data.crop must be a multiple of 4"),
        ({"kernel_size": 8}, "data.kernel_size must be odd"),
        ({"kernel_size": 25}, "at most data.crop=24"),
        ({"holdout": 0.0}, "data.holdout"),
        ({"holdout": 0.01}, "leaves none"),
        ({"n_train": 0}, "data.n_train"),
        ({"test_crop": 4, "crop": 24}, "larger than data.test_crop"),
        ({"crop": 400}, "astronaut has 256 x 256 pixels when halved: choose data.crop"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_larger_profile_options() -> None:
    common: dict[str, Any] = {"problem": "deblur", "sigma": 2.55, "crop": 180, "kernel_size": 25}
    with pytest.raises(ValueError, match="test_sets must name set12, bsd68"):
        Train400Data(test_sets=["levin32"], **common)
    with pytest.raises(ValueError, match="kernels_per_image"):
        Train400Data(kernels_per_image=9, **common)
    assert Train400Data(**common).label == "train400, test on set12, Levin's kernels"


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "red.png")
    assert read_gray(tmp_path / "red.png").shape == (1, 3, 4)
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(ValueError, match="bad.png is not an image file"):
        read_gray(tmp_path / "bad.png")
    Image.new("CMYK", (4, 3)).save(tmp_path / "print.tif")
    with pytest.raises(ValueError, match="print.tif has the colour mode CMYK"):
        read_gray(tmp_path / "print.tif")


@pytest.mark.data
def test_the_real_sets(fpi_data: Path) -> None:
    if not (fpi_data / "restoration" / "levin").is_dir() or not (fpi_data / "denoising" / "set12").is_dir():
        pytest.skip("needs restoration/levin and denoising/set12 in FPI_DATA")
    data = Train400Data(
        problem="deblur", sigma=2.55, crop=180, kernel_size=25, n_kernels=2, n_test=2, kernels_per_image=2
    )
    data.setup()
    sets = [(name, problem.size, len(truth)) for name, problem, truth in data.test_dataloader()]
    assert [name for name, *_ in sets] == ["test", "bsd68", "bsd68"] or {name for name, *_ in sets} == {"test", "bsd68"}
    assert sum(count for name, _, count in sets if name == "test") == 4
    problem, truth = data.train_dataloader().dataset[(0, 0)]
    assert problem.y.shape == truth.shape == (8, 1, 180, 180)
