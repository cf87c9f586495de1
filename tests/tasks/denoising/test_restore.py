"""The command line of scripts/denoise.py on every kind of image file, and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import fpi
from tasks.denoising.images import upright
from tasks.denoising.models import Denoiser, FeedForward, FPIDenoiser
from tasks.denoising.module import Denoising
from tasks.denoising.restore import main
from tasks.engine.image_quality import psnr

SHADES = np.add.outer(np.arange(20), np.arange(31)) * 5  # 0 to 245


def save_checkpoint(path: Path, network: Denoiser, sigma: float = 25) -> Path:
    module = Denoising(network, torch.optim.Adam, sigma)
    content: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    torch.save(content, path)
    return path


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """A checkpoint whose network returns its input."""
    network = FeedForward(2, 3, 0.0)
    with torch.no_grad():
        network.net[0].weight[0, 0, 1, 1] = network.net[2].weight[0, 0, 1, 1] = 1.0
    return save_checkpoint(tmp_path / "identity.ckpt", network)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def picture(mode: str) -> Image.Image:
    gray = SHADES.astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(SHADES.astype(np.uint16) * 257 + 1)
    colours = Image.fromarray(np.stack([gray, gray.T.reshape(gray.shape), 255 - gray], 2))
    alpha = Image.fromarray((SHADES // 2).astype(np.uint8))
    if mode == "LA":
        return Image.merge("LA", (Image.fromarray(gray), alpha))
    if mode == "RGBA":
        return Image.merge("RGBA", (*colours.split(), alpha))
    return Image.fromarray(gray) if mode == "L" else colours.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_modes_are_kept_and_channels_restored_one_by_one(tmp_path: Path, identity: Path, mode: str) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    picture(mode).save(source)
    assert run(source, "--checkpoint", identity, "--sigma", 25, "-o", target) == 0
    before, after = Image.open(source), Image.open(target)
    assert after.mode == before.mode == mode
    np.testing.assert_array_equal(np.asarray(after), np.asarray(before))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_colours_of_print_and_video_become_rgb_with_a_warning(
    tmp_path: Path, identity: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.tiff", tmp_path / "out.tiff"
    picture(mode).save(source, icc_profile=b"of the print")
    assert run(source, "--checkpoint", identity, "-o", target) == 0
    assert f"has {mode} colours: the result is RGB" in capsys.readouterr().err
    after = Image.open(target)
    assert after.mode == "RGB" and "icc_profile" not in after.info
    np.testing.assert_array_equal(np.asarray(after), np.asarray(Image.open(source).convert("RGB")))


def test_of_an_animation_the_first_picture_is_denoised_and_the_others_are_said(
    tmp_path: Path, identity: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [Image.new("RGB", (31, 20), colour) for colour in ("red", "blue")]
    picture("RGB").save(tmp_path / "in.gif", save_all=True, append_images=others)
    assert run(tmp_path / "in.gif", "--checkpoint", identity, "-o", tmp_path / "out.png") == 0
    assert "in.gif has 3 pictures: the first alone is denoised" in capsys.readouterr().err


def test_one_bad_image_is_said_once(tmp_path: Path, identity: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "missing.png", "--checkpoint", identity, "-o", tmp_path / "out.png") == 1
    assert capsys.readouterr().err == f"error: No such file or directory: {tmp_path / 'missing.png'}\n"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_pillows(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture("RGB").save(tmp_path / "in.png", exif=exif)
    pixels = np.asarray(picture("RGB")).transpose(2, 0, 1)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "in.png"))
    found = upright(pixels, (tmp_path / "in.png").read_bytes())
    np.testing.assert_array_equal(found.transpose(1, 2, 0), np.asarray(expected))


def test_palettes_become_colours_with_their_transparency(tmp_path: Path, identity: Path) -> None:
    for name, options in (("opaque", {}), ("transparent", {"transparency": 3})):
        source, target = tmp_path / f"{name}.png", tmp_path / f"{name}-out.png"
        picture("P").save(source, **options)
        assert run(source, "--checkpoint", identity, "-o", target) == 0
        after = Image.open(target)
        assert after.mode == ("RGBA" if options else "RGB")
        np.testing.assert_array_equal(np.asarray(after), np.asarray(Image.open(source).convert(after.mode)))


def test_orientation_is_applied_once(tmp_path: Path, identity: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture("L").save(tmp_path / "in.png", exif=exif)
    assert run(tmp_path / "in.png", "--checkpoint", identity, "-o", tmp_path / "out.png") == 0
    after = Image.open(tmp_path / "out.png")
    assert after.getexif().get(0x0112, 1) == 1
    np.testing.assert_array_equal(np.asarray(after), np.rot90(SHADES, -1))


def test_an_fpi_checkpoint_gives_the_layers_fixed_point(tmp_path: Path) -> None:
    torch.manual_seed(0)
    solver = fpi.Picard(criterion=fpi.Relative(1e-12), max_iter=500, damping=0.5)
    network = FPIDenoiser(4, 3, 0.8, solver, fpi.JacobianFree())
    job = tmp_path / "seed0"
    job.mkdir()
    save_checkpoint(job / "best.ckpt", network)
    picture("L").save(tmp_path / "in.png")
    assert run(tmp_path / "in.png", "--checkpoint", job, "-o", tmp_path / "out.png") == 0
    z = torch.from_numpy(SHADES / 255).float()[None, None]
    found = torch.from_numpy(np.asarray(Image.open(tmp_path / "out.png")) / 255).float()[None, None]
    with torch.no_grad():
        assert float(psnr(network(z).clamp(0, 1), found)) > 50  # rounding to 8 bits


def test_a_bad_image_is_named_and_the_others_go_on(
    tmp_path: Path, identity: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    for name in ("a.png", "c.png"):
        picture("L").save(tmp_path / name)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:45])
    Image.new("F", (4, 4)).save(tmp_path / "d.tiff")
    sources = [tmp_path / name for name in ("a.png", "b.png", "c.png", "d.tiff", "missing.png")]
    assert run(*sources, "--checkpoint", identity, "-o", tmp_path / "out") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    summary = capsys.readouterr().err.split("3 of 5 images were not denoised:")[1]
    assert "b.png" in summary and "colour mode F" in summary and "missing.png" in summary


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--sigma", "0"], "must be above 0"),
        (["--sigma", "-5"], "must be above 0"),
        (["--checkpoint", "none.ckpt"], "there is no such file"),
        (["--checkpoint", "in.png"], "cannot be read as a checkpoint"),
        (["--checkpoint", "foreign.ckpt"], "is of another task"),
        (["--checkpoint", "wrong.ckpt"], "does not hold the weights it names"),
        (["--device", "foo"], "--device foo: there is no such device here, choose cpu"),
        (["-o", "in.png"], "would overwrite the image itself"),
        (["-o", "nowhere/out.png"], "there is no folder"),
    ],
)
def test_wrong_command_lines_are_one_paragraph(
    tmp_path: Path,
    identity: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    picture("L").save("in.png")
    torch.save({"state_dict": {}, "epoch": 3}, "foreign.ckpt")
    content = torch.load(identity, weights_only=True)
    content["denoiser"]["channels"] = 64
    torch.save(content, "wrong.ckpt")
    assert run("in.png", "--checkpoint", identity, "-o", "out.png", *arguments) == 2
    message = capsys.readouterr().err
    assert problem in message and "Traceback" not in message and not Path("out.png").exists()


def test_another_noise_level_than_the_trained_one_is_said(
    tmp_path: Path, identity: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture("L").save(tmp_path / "in.png")
    assert run(tmp_path / "in.png", "--checkpoint", identity, "--sigma", 50, "-o", tmp_path / "out.png") == 0
    assert "trained for σ = 25" in capsys.readouterr().err


def test_results_that_would_overwrite_each_other_are_refused(tmp_path: Path, identity: Path) -> None:
    for name in ("x", "y", "out"):
        (tmp_path / name).mkdir()
        picture("L").save(tmp_path / name / "same.png")
    sources = [tmp_path / "x" / "same.png", tmp_path / "y" / "same.png"]
    assert run(*sources, "--checkpoint", identity, "-o", tmp_path / "out") == 2
    assert run(*sources, "--checkpoint", identity, "-o", tmp_path / "one.png") == 2
