"""The command line of scripts/denoise.py: image files in, denoised image files out. Trains nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import fpi
from tasks.denoising import deep
from tasks.denoising.images import ImageError, frames, open_image
from tasks.denoising.models import Denoiser, FeedForward, FPIDenoiser
from tasks.engine import console, devices
from tasks.engine.errors import said

EIGHT_BITS = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}
CONVERTED = ("CMYK", "YCbCr")  # to RGB, not without loss
PGM = (b"P2", b"P5")  # how the files begin; Pillow reads 16 bits of them into 32
TOLERANCE, MAX_ITER = 1e-7, 500  # of the solve; Anderson's method needs about 10


class DenoiseError(ValueError):
    """What the user can correct: one paragraph, with the file or option and the fix."""


def main(arguments: Sequence[str]) -> int:
    """Denoise every image given; returns 1 if one of them could not be used, 2 for a wrong command line."""
    options = _parse(arguments)
    try:
        device = devices.named(options.device)
        network, trained = load_denoiser(options.checkpoint)
        _check_sigma(options.sigma, trained)
        targets = _targets(options.images, options.output)
    except ValueError as error:
        console.error(str(error))
        return 2
    network.to(device)
    failed = []
    for source, target in zip(options.images, targets, strict=True):
        try:
            denoise_file(network, source, target)
            console.say(f"{source} -> {target}")
        except (ImageError, fpi.FixedPointError, OSError) as error:
            text = said(error)
            failed.append(text if str(source) in text else f"{source}: {text}")
            if len(targets) > 1:
                console.warn(failed[-1])
    if len(targets) == 1 and failed:
        console.error(failed[0])
    elif failed:
        console.error(f"{len(failed)} of {len(options.images)} images were not denoised:\n  " + "\n  ".join(failed))
    return int(bool(failed))


def load_denoiser(path: Path) -> tuple[Denoiser, float]:
    """The network of a checkpoint (a file, or a job's directory with best.ckpt) and the σ it was trained for.

    Raises:
        DenoiseError: there is no such file, it cannot be read, or it is of another task or architecture.
    """
    path = path / "best.ckpt" if path.is_dir() else path
    if not path.is_file():
        raise DenoiseError(
            f"--checkpoint {path}: there is no such file; give best.ckpt of a trained job, or its folder."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever damaged bytes make the reader raise
        raise DenoiseError(f"--checkpoint {path} cannot be read as a checkpoint: {error}") from error
    saved = content.get("denoiser") if isinstance(content, dict) else None
    if not isinstance(saved, dict) or saved.get("network") not in ("FeedForward", "FPIDenoiser"):
        of = saved.get("network") if isinstance(saved, dict) else "another task"
        raise DenoiseError(
            f"--checkpoint {path} is of {of}; expected a trained network of tasks/denoising (any row but nlm)."
        )
    shape = {"channels": saved["channels"], "kernel_size": saved["kernel_size"], "init_scale": 1.0}
    network: Denoiser
    if saved["network"] == "FeedForward":
        network = FeedForward(**shape)
    else:
        solver = fpi.Anderson(criterion=fpi.Relative(TOLERANCE), max_iter=MAX_ITER)
        network = FPIDenoiser(**shape, solver=solver, adjoint=fpi.JacobianFree())
    prefix = "network."
    weights = {name.removeprefix(prefix): value for name, value in content["state_dict"].items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DenoiseError(f"--checkpoint {path} does not hold the weights it names ({shape}): {error}") from error
    return network.eval(), float(saved["sigma"])


def denoise_file(network: Denoiser, source: Path, target: Path) -> None:
    """Denoise one image file, channel by channel, in its own bit depth; alpha is kept, EXIF orientation applied.

    Raises:
        ImageError: the file cannot be decoded, or its colour mode is not one of gray, RGB and palette (with or without
            alpha; 8 or 16 bits a channel) and CMYK (which becomes RGB, with a warning).
    """
    content = source.read_bytes()
    pixels = deep.read(source, content)
    if pixels is not None:
        _denoise_deep(network, source, pixels, target)
        return
    picture = open_image(str(source), content)
    if (count := frames(content)) > 1:
        console.warn(f"{source} has {count} pictures: the first alone is denoised")
    if picture.mode in CONVERTED:
        console.warn(f"{source} has {picture.mode} colours: the result is RGB, converted without a colour profile")
        picture.info.pop("icc_profile", None)  # of the colours it had
        picture = picture.convert("RGB")
    if picture.mode.startswith("I;16") or (picture.mode == "I" and content[:2] in PGM):
        values, scale, mode, alpha = np.asarray(picture).astype(np.float32)[None], 65535, "I;16", None
    else:
        if picture.mode not in EIGHT_BITS:
            raise ImageError(f"{source} has the colour mode {picture.mode}: convert it to gray or RGB first")
        with_alpha = picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info
        mode = "RGBA" if with_alpha and picture.mode != "LA" else EIGHT_BITS[picture.mode]
        pixels = np.atleast_3d(np.asarray(picture.convert(mode))).transpose(2, 0, 1)
        values, alpha = (pixels[:-1], pixels[-1]) if with_alpha else (pixels, None)
        scale = 255
    channels = torch.from_numpy(values.astype(np.float32) / scale)[:, None]
    result = _to_integers(denoise(network, channels), scale)
    if alpha is not None:
        result = np.concatenate([result, alpha[None].astype(result.dtype)])
    pixels = result[0] if len(result) == 1 else result.transpose(1, 2, 0)
    options: dict[str, Any] = {key: picture.info[key] for key in ("icc_profile", "dpi") if key in picture.info}
    try:
        Image.fromarray(np.ascontiguousarray(pixels)).save(target, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ImageError(
            f"{target} cannot be written as {mode}: {error}. Choose another folder or -o FILE.png"
        ) from error


def _denoise_deep(network: Denoiser, source: Path, pixels: np.ndarray, target: Path) -> None:
    """16 bits a channel, uint16 (channels, height, width): gray or RGB, with or without alpha."""
    deep.check_target(source, target, len(pixels))
    colours = pixels[: len(pixels) - (len(pixels) + 1) % 2]  # the rest is alpha
    channels = torch.from_numpy(colours.astype(np.float32) / 65535)[:, None]
    result = _to_integers(denoise(network, channels), 65535)
    try:
        deep.write(target, np.concatenate([result, pixels[len(colours) :]]))
    except OSError as error:
        raise ImageError(f"{target} cannot be written: {error}. Choose another folder or -o FILE.png") from error


@torch.no_grad()
def denoise(network: Denoiser, images: Tensor) -> Tensor:
    """Images (n, 1, height, width) on [0, 1], each denoised by itself, on the network's device."""
    device = next(network.parameters()).device
    return torch.cat([network(image.to(device)).cpu() for image in images.split(1)])


def _to_integers(images: Tensor, scale: int) -> np.ndarray:
    values: np.ndarray = (images[:, 0].clamp(0, 1) * scale).round().numpy()
    return values.astype(np.uint8 if scale == 255 else np.uint16)


def _check_sigma(sigma: float | None, trained: float) -> None:
    if sigma is None or sigma == trained:
        return
    if not sigma > 0:
        raise DenoiseError(f"--sigma {sigma:g}: the noise level must be above 0 (in grey levels of 255).")
    console.warn(f"the checkpoint was trained for σ = {trained:g}; at σ = {sigma:g} it removes too little or too much")


def _targets(images: Sequence[Path], output: Path) -> list[Path]:
    """Where each result goes: -o itself for one image, else a file of the same name in the folder -o."""
    if len(images) == 1 and not output.is_dir():
        targets = [output]
    else:
        if not output.is_dir():
            raise DenoiseError(f"-o {output}: with several images give an existing folder.")
        targets = [output / image.name for image in images]
    if len(set(targets)) < len(targets):
        raise DenoiseError("two images have the same name: their results would overwrite each other.")
    for source, target in zip(images, targets, strict=True):
        if target.exists() and source.exists() and target.samefile(source):
            raise DenoiseError(f"-o {target} would overwrite the image itself: choose another name.")
        if not target.parent.is_dir():
            raise DenoiseError(f"-o {target}: there is no folder {target.parent}.")
    return targets


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="denoise.py", description="Denoise images with a trained network.")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="gray or colour, 8 or 16 bits, any size")
    parser.add_argument("--checkpoint", required=True, type=Path, help="best.ckpt of a trained job, or its folder")
    parser.add_argument("--sigma", type=float, help="noise level in grey levels of 255 (default: the checkpoint's)")
    parser.add_argument("-o", "--output", required=True, type=Path, help="file, or a folder for several images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    return parser.parse_args(arguments)
