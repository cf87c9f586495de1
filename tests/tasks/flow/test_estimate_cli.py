"""scripts/flow.py: a trained row or an initialiser on two images, and what it says of wrong input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from tasks.flow.estimate_cli import main
from tasks.flow.flownet import FlowNetS, estimate
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
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--device", "cpu", "-o", str(tmp_path / "x.flo")])
        assert ended.value.code == 1
        said = capsys.readouterr()
        return " ".join((said.out + said.err).split())

    Image.new("RGB", (50, 41)).save(tmp_path / "c.png")
    assert "different sizes" in error(frames[0], str(tmp_path / "c.png"), "--initialiser", "zero")
    (tmp_path / "d.png").write_text("no image")
    assert "d.png" in error(frames[0], str(tmp_path / "d.png"), "--initialiser", "zero")
    assert "no checkpoint" in error(*frames, "--checkpoint", str(tmp_path / "none.ckpt"))
    make_job(tmp_path, 0.05)
    assert "does not fit" in error(*frames, "--checkpoint", str(tmp_path / "last.ckpt"))
    assert not (tmp_path / "x.flo").exists()
