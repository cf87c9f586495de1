"""The command line of scripts/flow.py: a trained row, applied to two images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from tasks.engine import console
from tasks.engine.callbacks import read_checkpoint
from tasks.engine.errors import CheckpointError
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
    except (OSError, ValueError, CheckpointError) as error:
        console.error(str(error))
        sys.exit(1)


def run(options: argparse.Namespace) -> None:
    """Raises ValueError or OSError naming the file that is wrong, CheckpointError for a checkpoint that is."""
    first, second = (read_image(path)[None].float() / 255 for path in (options.first, options.second))
    if first.shape != second.shape:
        sizes = " and ".join(f"{tuple(frame.shape[-2:])}" for frame in (first, second))
        raise ValueError(f"{options.first} and {options.second} have different sizes (height, width): {sizes}")
    pair = [frame.to(options.device) for frame in (first, second)]
    with torch.no_grad():
        if options.checkpoint is None:
            flow = make(options.initialiser)(*pair)[0]
        else:
            flow = load_module(options.checkpoint).to(options.device).estimate(*pair)[0]
    write_flo(options.output, flow.cpu())
    written = str(options.output)
    if options.png:
        picture = options.output.with_suffix(".png")
        Image.fromarray(flow_to_rgb(flow.cpu().numpy())).save(picture)
        written += f", {picture}"
    console.say(
        f"{written}: {flow.shape[2]}x{flow.shape[1]} pixels, longest motion {float(flow.norm(dim=0).max()):.2f}"
    )


def load_module(checkpoint: Path) -> FlowModule:
    """The trained module of a job, in evaluation mode, from its directory or its last.ckpt.

    Raises:
        FileNotFoundError: no checkpoint, or no config.yaml beside it.
        CheckpointError: the file cannot be read, or does not fit the config's module.
    """
    checkpoint = checkpoint / "last.ckpt" if checkpoint.is_dir() else checkpoint
    config = checkpoint.parent / "config.yaml"
    for path, what in ((checkpoint, "checkpoint"), (config, "config of the checkpoint's job")):
        if not path.is_file():
            raise FileNotFoundError(f"no {what} at {path}: give a finished job's directory, or the last.ckpt in it")
    module: FlowModule = instantiate(OmegaConf.load(config).method, _convert_="all")
    state = read_checkpoint(checkpoint)
    assert state is not None
    try:
        module.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} does not fit {config}: {error}") from error
    return module.eval()
