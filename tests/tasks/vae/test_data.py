"""tasks.vae.data: batches, flips, and the images that distances are measured to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.vae.data import CelebA10kData, GeneratedFaces, as_bytes, as_float
from tasks.vae.faces import faces


def generated(**options: Any) -> GeneratedFaces:
    settings: dict[str, Any] = {
        **{"n_train": 40, "n_more": 30, "size": 16, "batch_size": 12, "n_eval": 30, "n_test": 10},
        **{"eval_batch_size": 8},
        **options,
    }
    data = GeneratedFaces(**settings)
    data.setup()
    return data


def test_bytes_and_floats_are_inverse() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    floats = as_float(values)
    assert float(floats.min()) == -1 and float(floats.max()) == 1
    assert torch.equal(as_bytes(floats), values)
    assert as_bytes(torch.tensor([-1.2, 1.2])).tolist() == [0, 255]
    assert int(as_bytes(torch.tensor([0.25], dtype=torch.bfloat16))) == 159


def test_a_face_is_a_function_of_its_number() -> None:
    few, many = faces(10, 16, 3), faces(300, 16, 3)
    assert few.shape == (10, 3, 16, 16) and few.dtype == np.uint8
    assert np.array_equal(few, many[:10]) and not np.array_equal(faces(10, 16, 4), few)
    assert len(np.unique(many.reshape(300, -1), axis=0)) == 300


def test_batches_are_whole_and_mirrored_by_seed_and_epoch() -> None:
    data = generated()
    assert data.images is not None
    loader = data.train_dataloader()
    plain = {image.tobytes() for image in data.images[:40]}
    mirrored = {np.ascontiguousarray(image[..., ::-1]).tobytes() for image in data.images[:40]}
    epochs = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        epochs.append(torch.cat(list(loader)))
    assert [len(images) for images in epochs] == [36] * 3
    seen = {image.numpy().tobytes() for image in epochs[0]}
    assert len(seen & plain) > 8 and len(seen & mirrored) > 8 and seen <= plain | mirrored
    assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])
    still = torch.cat(list(generated(flip=False).train_dataloader()))
    assert {image.numpy().tobytes() for image in still} <= plain


def test_test_images_are_never_trained_on() -> None:
    data = generated()
    trained = {image.numpy().tobytes() for image in torch.cat(list(generated(flip=False).train_dataloader()))}
    tested = {image.numpy().tobytes() for image in torch.cat(list(data.val_dataloader()))}
    assert len(tested) == 10 and not tested & trained


def test_the_reference_is_the_same_for_every_seed_and_apart_from_the_others() -> None:
    first, second = generated(seed=0), generated(seed=5)
    reference = torch.cat(list(first.reference()))
    assert torch.equal(reference, torch.cat(list(second.reference()))) and len(reference) == 30
    others = {image.numpy().tobytes() for image in torch.cat(list(first.others()))}
    assert len(others) == 30 and not others & {image.numpy().tobytes() for image in reference}
    assert first.has_others and not generated(n_eval=36).has_others


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"size": 0}, "data.size"),
        ({"batch_size": 41}, "data.batch_size=41"),
        ({"n_eval": 1}, "data.n_eval"),
        ({"n_eval": 71}, "data.n_eval=71"),
        ({"n_test": 31}, "data.n_test=31"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, int], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        generated(**options)


@pytest.mark.data
def test_half_scale_celeba(fpi_data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"crop": 74, "size": 64, "batch_size": 144, "n_eval": 4500, "n_test": 1000}
    data = CelebA10kData(cache_dir=str(tmp_path), **options)
    data.setup()
    assert data.images is not None and data.images.shape == (9000, 3, 64, 64) and isinstance(data.images, np.memmap)
    assert len(data.train) == 8000 and data.test.tolist() == list(range(8000, 9000)) and data.has_others
    assert data.stand_in and data.label == "celeba-half-9000"
