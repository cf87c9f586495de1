"""scripts/flow.py: a trained row or an initialiser on two images, and what it says of wrong input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from tasks.engine import data
from tasks.flow.estimate_cli import main
from tasks.flow.flownet import FlowNetS, estimate
from tasks.flow.initialisers import WEIGHTS
from tasks.flow.io import read_flow, read_image


@pytest.fixture
def frames(tmp_path: Path) -> list[str]:
    generator = torch.Generator().manual_seed(0)
    names = []
    for name in ("a.png", "b.png"):
        pixels = torch.randint(0, 256, (40, 50, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(tmp_path / name)
        names.append(str(tmp_path / name))
    return names


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a wrong command line says, in one line."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 1
    return " ".join(capsys.readouterr().err.split())


def make_job(directory: Path, width: float) -> FlowNetS:
    torch.manual_seed(0)
    network = FlowNetS(0.03)
    target = {"_target_": "tasks.flow.fpi_module.refined", "network": {"_target_": "tasks.flow.flownet.FlowNetS"}}
    target["network"]["width"] = width  # type: ignore[index]
    method = {"_target_": "tasks.flow.module.FlowNetModule", "model": target, "optimizer": None}
    OmegaConf.save(OmegaConf.create({"method": method}), directory / "config.yaml")
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state, "optimizers": [], "history": []}, directory / "last.ckpt")
    return network


@pytest.mark.parametrize("name", [".", "last.ckpt"])
def test_a_trained_row_writes_its_flow(name: str, frames: list[str], tmp_path: Path) -> None:
    network, out = make_job(tmp_path, 0.03), tmp_path / "out.flo"
    main([*frames, "--checkpoint", str(tmp_path / name), "-o", str(out), "--png", "--device", "cpu"])
    pair = [read_image(name)[None].float() / 255 for name in frames]
    with torch.no_grad():
        torch.testing.assert_close(read_flow(out)[0], estimate(network, *pair)[0])
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.size == (50, 40)


def test_wrong_input_ends_in_one_paragraph(
    frames: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*arguments: str) -> str:
        return refusal(capsys, *arguments, "--device", "cpu", "-o", str(tmp_path / "x.flo"))

    Image.new("RGB", (50, 41)).save(tmp_path / "c.png")
    assert "different sizes" in error(frames[0], str(tmp_path / "c.png"), "--initialiser", "zero")
    (tmp_path / "d.png").write_text("no image")
    assert "d.png" in error(frames[0], str(tmp_path / "d.png"), "--initialiser", "zero")
    assert "no checkpoint" in error(*frames, "--checkpoint", str(tmp_path / "none.ckpt"))
    make_job(tmp_path, 0.05)
    assert "does not fit" in error(*frames, "--checkpoint", str(tmp_path / "last.ckpt"))
    config = OmegaConf.create({"method": {"_target_": "tasks.denoising.module.Denoising"}})
    OmegaConf.save(config, tmp_path / "config.yaml")
    assert "another task (tasks.denoising" in error(*frames, "--checkpoint", str(tmp_path))
    config.method._target_ = "tasks.flow.module.FlowNetModule"
    OmegaConf.save(config, tmp_path / "config.yaml")
    assert "cannot be made" in error(*frames, "--checkpoint", str(tmp_path))
    (tmp_path / "config.yaml").write_text("task: toy")
    assert "is no config of a job" in error(*frames, "--checkpoint", str(tmp_path))
    assert not (tmp_path / "x.flo").exists()


@pytest.mark.parametrize("name", ["pwcnet", "raft_small"])
def test_weights_that_are_not_here_are_said_with_the_fix(
    name: str, frames: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "DATA_DIR", tmp_path)
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    said = refusal(capsys, *frames, "--initialiser", name, "--device", "cpu", "-o", str(tmp_path / "x.flo"))
    assert WEIGHTS[name].rpartition("/")[2] in said and "method." not in said and "Error" not in said
    assert {"pwcnet": "an initialiser without weights, dis or zero", "raft_small": "FPI_DATA"}[name] in said


def test_outputs_and_devices_that_cannot_be_are_refused_before_anything_is_written(
    frames: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*arguments: str) -> str:
        return refusal(capsys, *frames, "--initialiser", "zero", *arguments)

    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = str(tmp_path / "x.png")
    for arguments in (["-o", out], ["-o", out, "--png"]):
        assert "name it " + str(tmp_path / "x.flo") in error(*arguments)
    assert "would overwrite the frame" in error("-o", str(tmp_path / "a.flo"), "--png")
    assert "there is no folder" in error("-o", str(tmp_path / "no/x.flo"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device cuda: there is no such device here" in error("-o", str(tmp_path / "x.flo"), "--device", "cuda")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
