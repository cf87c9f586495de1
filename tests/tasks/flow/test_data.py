"""tasks.flow.data: batches that depend on (seed, epoch, batch) alone, and the sets' contract with the engine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning.pytorch as pl
import pytest
import torch
from omegaconf import OmegaConf

from tasks.engine import data as engine_data
from tasks.flow.augment import Augmentation
from tasks.flow.batches import FilePairs
from tasks.flow.data import ChairsData, FlowData, ShapesData, SintelData
from tasks.flow.readers import OddFilesError, chairs
from tasks.flow.shapes import FlyingShapes, write_chairs

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SHAPES = partial(FlyingShapes, height=64, width=96, objects=(2, 4), procedural=2, natural=False, outlines=5)
CONTRACT = {
    "frame1": (3, torch.float32),
    "frame2": (3, torch.float32),
    "flow": (2, torch.float32),
    "valid": (1, torch.bool),
}


def shapes_data(**options: Any) -> ShapesData:
    data = ShapesData(SHAPES, **{"seed": 0, "batch_size": 3, "n_train": 10, "n_eval": 2, **options})
    data.setup()
    return data


def batches(data: FlowData, epoch: int = 0) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return list(loader)


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in CONTRACT)


def test_training_batches_have_the_contracts_form() -> None:
    for batch in batches(shapes_data(augment=Augmentation(crop=(32, 64)))):
        for name, (channels, dtype) in CONTRACT.items():
            assert batch[name].shape == (3, channels, 32, 64) and batch[name].dtype == dtype
        assert batch.keys() == CONTRACT.keys()
        assert 0 <= batch["frame1"].min() and batch["frame1"].max() <= 1


def test_a_batch_depends_on_seed_and_epoch_and_not_on_the_past() -> None:
    augment = Augmentation(crop=(32, 64))
    one, two = shapes_data(augment=augment), shapes_data(augment=augment)
    first = batches(one)
    second = batches(one, epoch=1)
    torch.manual_seed(77)
    assert all(equal(a, b) for a, b in zip(second, batches(two, epoch=1), strict=True))  # resumed in epoch 1
    assert not equal(first[0], second[0])
    assert not equal(first[0], batches(shapes_data(augment=augment, seed=1))[0])


def test_workers_give_the_same_batches() -> None:
    alone, helped = (shapes_data(augment=Augmentation(crop=(32, 64)), workers=workers) for workers in (0, 1))
    assert all(equal(a, b) for a, b in zip(batches(alone, 2), batches(helped, 2), strict=True))


def test_an_epoch_is_whole_batches_up_to_the_limit() -> None:
    assert len(batches(shapes_data())) == 3 and len(batches(shapes_data(epoch_batches=2))) == 2
    data = shapes_data(n_train=4, batch_size=2, epoch_batches=1)
    seen = {tuple(batches(data, epoch)[0]["flow"].sum((1, 2, 3)).tolist()) for epoch in range(8)}
    assert len(seen) > 1  # other pairs in other epochs


def test_evaluation_is_held_out_one_by_one_and_fixed() -> None:
    data = shapes_data()
    found = list(data.val_dataloader())
    assert [batch["name"] for batch in found] == [["shapes/00001"], ["shapes/00002"]]
    assert all(batch["flow"].shape == (1, 2, 64, 96) for batch in found)
    assert all(equal(a, b) for a, b in zip(found, shapes_data(seed=9, set_seed=4).test_dataloader(), strict=True))
    trained = torch.cat([batch["flow"] for batch in batches(data)])
    assert not any((trained == batch["flow"]).flatten(1).all(1).any() for batch in found)
    assert data.label == "flying shapes, evaluated on held-out shapes" and data.stand_in


class Recorder(pl.LightningModule):
    """Keeps what it is shown; trains one number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[dict[str, Any]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.seen.append(batch)
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def train(data: FlowData, tmp_path: Path, accelerator: str = "cpu") -> list[dict[str, Any]]:
    module = Recorder()
    pl.Trainer(
        max_epochs=2, accelerator=accelerator, devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(module, data)  # fmt: skip
    return module.seen


def test_a_device_makes_the_batches_that_workers_make(tmp_path: Path) -> None:
    augment = Augmentation(crop=(32, 64))
    by_workers = train(shapes_data(augment=augment), tmp_path)
    by_device = train(shapes_data(augment=augment, on_device=True), tmp_path)
    assert len(by_workers) == len(by_device) == 6
    for a, b in zip(by_workers, by_device, strict=True):
        assert all(torch.allclose(a[name].float(), b[name].float(), atol=1e-5) for name in CONTRACT)


@pytest.mark.gpu
def test_a_gpu_makes_them_too(tmp_path: Path) -> None:
    by_workers = train(shapes_data(), tmp_path, "gpu")
    by_device = train(shapes_data(on_device=True), tmp_path, "gpu")
    for a, b in zip(by_workers, by_device, strict=True):
        assert b["flow"].is_cuda and torch.equal(a["flow"], b["flow"])
        assert torch.allclose(a["frame2"], b["frame2"], atol=1e-6)


def test_chairs_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    write_chairs(SHAPES(seed=0), tmp_path / "flow/FlyingChairs", 0, 6, validation_every=3)
    data = ChairsData(seed=0, batch_size=2)
    data.setup()
    assert len(batches(data)) == 2 and [b["name"] for b in data.val_dataloader()] == [
        ["chairs/00003"],
        ["chairs/00006"],
    ]
    assert data.label == "FlyingChairs" and not data.stand_in
    assert equal({**next(iter(data.val_dataloader()))}, {**SHAPES(seed=0).batch([2]), "name": ["chairs/00003"]})


def test_missing_files_stop_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(engine_data, "DATA_DIR", tmp_path / "none")
    write_chairs(SHAPES(seed=0), tmp_path / "flow/FlyingChairs", 0, 6, validation_every=3)
    (tmp_path / "flow/FlyingChairs/data/00006_flow.flo").unlink()
    with pytest.raises(OddFilesError, match="1 files .*\n.*00006_flow.flo: No such file"):
        ChairsData(seed=0, batch_size=2).setup()
    with pytest.raises(engine_data.DataNotFoundError, match="'Sintel' not found"):
        SintelData(seed=0, batch_size=2).setup()


def test_sizes_that_do_not_fit_one_batch(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, height in zip(folders, (64, 96), strict=True):
        write_chairs(SHAPES(seed=0, height=height), folder, 0, 1)
    pairs = FilePairs([chairs("train", folder)[0] for folder in folders])
    with pytest.raises(OddFilesError, match="96x64, 96x96. Fix: set data.augment.crop"):
        pairs.batch([0, 1])


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"n_train": 0}, {"epoch_batches": 0}, {"seed": -1}, {"set_seed": 640_133}]
)
def test_impossible_settings_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"data.{next(iter(options))}"):
        shapes_data(**options)


@pytest.mark.data
def test_evaluation_on_real_pairs() -> None:
    data = shapes_data(real_sets=["chairs", "sintel", "middlebury"])
    found = list(data.val_dataloader())
    assert len(found) == 23 and {batch["name"][0].split("/")[0] for batch in found} == {
        "chairs",
        "sintel",
        "middlebury",
    }
    assert {tuple(batch["flow"].shape[2:]) for batch in found} == {(384, 512), (436, 1024), (388, 584), (480, 640)}
    zero = [batch["flow"].square().sum(1).sqrt()[batch["valid"][:, 0]].mean().item() for batch in found]
    assert 8 < sum(zero[:9]) / 9 < 12  # zero flow's error on the chairs
    assert data.label == "flying shapes, evaluated on real pairs of chairs, sintel, middlebury"


CONFIG_NAMES = sorted(path.stem for path in (CONFIGS / "data").glob("flow_*.yaml"))


@pytest.mark.parametrize("name", CONFIG_NAMES)
def test_configs_make_data_modules(name: str) -> None:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [f"data={name}", "data.batch_size=2"])
    data = hydra.utils.instantiate(OmegaConf.to_container(config.data, resolve=True), _convert_="all")
    assert isinstance(data, FlowData) and data.label and data.batch_size == 2
    assert data.stand_in == (not name.endswith("paper"))
    if data.stand_in:
        shapes = data.make_shapes(seed=0)
        assert isinstance(shapes, FlyingShapes)
        if data.augment is not None:
            assert shapes.height >= data.augment.crop[0] and shapes.width >= data.augment.crop[1]


def test_configs_are_complete() -> None:
    assert set(CONFIG_NAMES) == {
        f"flow_{family}_{profile}"
        for family in ("chairs", "sintel")
        for profile in ("paper", "shapes", "sample", "smoke")
    }
