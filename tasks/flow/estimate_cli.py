"""The command line of scripts/flow.py: a trained row, applied to two images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from yaml import YAMLError

import fpi
from tasks.engine import console, devices
from tasks.engine.callbacks import read_checkpoint
from tasks.engine.errors import CheckpointError, root_cause, said
from tasks.engine.manifest import DataError
from tasks.flow.colors import flow_to_rgb
from tasks.flow.initialisers import NAMES, make
from tasks.flow.io import read_image, write_flo
from tasks.flow.module import FlowModule


def main(arguments: Sequence[str] | None = None) -> None:
    """Estimate, write, and say the longest motion; a wrong input ends in one paragraph and status 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path, help="first frame, any format Pillow reads")
    parser.add_argument("second", type=Path, help="second frame, of the same size")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="a finished job's directory, or its last.ckpt")
    source.add_argument("--initialiser", choices=NAMES, help="an initialiser alone, without a trained row")
    parser.add_argument("-o", "--output", type=Path, default=Path("flow.flo"), help="the flow, a .flo file")
    parser.add_argument("--png", action="store_true", help="also write the flow as colours, beside the .flo file")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except (OSError, ValueError, CheckpointError, DataError, fpi.FixedPointError) as error:
        console.error(said(error))
        sys.exit(1)


def run(options: argparse.Namespace) -> None:
    """Raises ValueError or OSError naming the file or option that is wrong, CheckpointError for a checkpoint that is,
    DataError if an initialiser's weights are not here."""
    device, picture = devices.named(options.device), _picture(options)
    first, second = (read_image(path)[None].float() / 255 for path in (options.first, options.second))
    if first.shape != second.shape:
        sizes = " and ".join(f"{tuple(frame.shape[-2:])}" for frame in (first, second))
        raise ValueError(f"{options.first} and {options.second} have different sizes (height, width): {sizes}")
    pair = [frame.to(device) for frame in (first, second)]
    with torch.no_grad():
        if options.checkpoint is None:
            flow = make(options.initialiser)(*pair)[0]
        else:
            flow = load_module(options.checkpoint).to(device).estimate(*pair)[0]
    write_flo(options.output, flow.cpu())
    written = str(options.output)
    if picture:
        Image.fromarray(flow_to_rgb(flow.cpu().numpy())).save(picture)
        written += f", {picture}"
    console.say(
        f"{written}: {flow.shape[2]}x{flow.shape[1]} pixels, longest motion {float(flow.norm(dim=0).max()):.2f}"
    )


def _picture(options: argparse.Namespace) -> Path | None:
    """Where the colours go. Raises ValueError if a file would have another kind's name, no folder, or be a frame's."""
    output: Path = options.output
    if output.suffix != ".flo":
        raise ValueError(f"-o {output}: the flow is a .flo file, name it {output.with_suffix('.flo')}")
    if not output.parent.is_dir():
        raise ValueError(f"-o {output}: there is no folder {output.parent}")
    picture = output.with_suffix(".png") if options.png else None
    if picture and picture.exists() and any(picture.samefile(frame) for frame in (options.first, options.second)):
        raise ValueError(f"--png would overwrite the frame {picture}: choose another name for -o")
    return picture


def load_module(checkpoint: Path) -> FlowModule:
    """The trained module of a job, in evaluation mode, from its directory or its last.ckpt.

    Raises:
        FileNotFoundError: no checkpoint, or no config.yaml beside it.
        CheckpointError: the file cannot be read, is of another task, or does not fit the config's module.
    """
    checkpoint = checkpoint / "last.ckpt" if checkpoint.is_dir() else checkpoint
    config = checkpoint.parent / "config.yaml"
    for path, what in ((checkpoint, "checkpoint"), (config, "config of the checkpoint's job")):
        if not path.is_file():
            raise FileNotFoundError(f"no {what} at {path}: give a finished job's directory, or the last.ckpt in it")
    try:
        method = OmegaConf.load(config).method
        if not str(method._target_).startswith("tasks.flow."):
            raise CheckpointError(f"{checkpoint} is of another task ({method._target_}), expected one of optical flow")
        module: FlowModule = instantiate(method, _convert_="all")
    except InstantiationException as error:
        raise CheckpointError(f"the network of {config} cannot be made: {root_cause(error)}") from error
    except (OmegaConfBaseException, YAMLError) as error:
        raise CheckpointError(f"{config} is no config of a job: {str(error).splitlines()[0]}") from error
    state = read_checkpoint(checkpoint)
    assert state is not None
    try:
        module.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} does not fit {config}: {error}") from error
    return module.eval()
