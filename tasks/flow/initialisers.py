"""Where the energy's descent starts: an existing flow algorithm (thesis 6.2.2: PWC-Net), frozen."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.engine.data import locate, search_places
from tasks.flow.pwcnet import load_by_key, load_pwcnet

_RAFT_MOTION = {"c1": "convcorr1", "f1": "convflow1", "f2": "convflow2"}

# princeton-vl/RAFT's names of RAFT-small's modules -> torchvision's
RAFT_NAMES = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"encoder\.conv1\.", "encoder.convnormrelu.0."),
    (r"encoder\.conv2\.", "encoder.conv."),
    (r"^update_block\.encoder\.conv([cf]\d)\.", lambda m: f"update_block.motion_encoder.{_RAFT_MOTION[m[1]]}.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.", "update_block.recurrent_block.convgru1."),
)
RAFT_MULTIPLE, RAFT_SMALLEST = 8, 128
DIS_SMALLEST = 16  # two of its patches; OpenCV refuses smaller images, or reads beyond narrow ones
WEIGHTS = {"pwcnet": "flow/pwc_net.pth.tar", "raft_small": "flow/raft_small/raft-small.pth"}


class Initialiser(nn.Module):
    """`initialiser(frame1, frame2)`: flow (batch, 2, height, width) in pixels, without gradients, for any size.

    Args:
        network: maps two frames, (batch, 3, height, width) RGB in [0, 1], to their flow.  It stays in evaluation mode,
            its parameters are frozen, and neither is part of the checkpoints of a module that holds it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        network.eval().requires_grad_(False)
        self._network = [network]  # in a list: not a submodule

    @torch.no_grad()
    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        flow: Tensor = self._network[0].to(frame1.device)(frame1, frame2)
        return flow


NAMES = ("pwcnet", "raft_small", "dis", "zero")


def make(name: str, weights: str | None = None) -> Initialiser:
    """An initialiser by name.

    Args:
        name: pwcnet (NVlabs' weights) | raft_small (torchvision's network, the authors' weights, 12 updates) | dis
            (OpenCV's DIS, medium preset: no weights, no GPU) | zero (no motion).
        weights: path of the first two's weights below FPI_DATA or data/; None: `WEIGHTS`.

    Raises:
        ValueError: an unknown name, or weights of another network.
        FileNotFoundError, tasks.engine.data.DataNotFoundError: no weights.
    """
    if name not in NAMES:
        raise ValueError(f"initialiser '{name}' is unknown: choose one of {', '.join(NAMES)}")
    if name in WEIGHTS:
        path = (
            locate(WEIGHTS[name])
            if name == "raft_small" and weights is None
            else find_weights(weights or WEIGHTS[name])
        )
        return Initialiser(load_pwcnet(path) if name == "pwcnet" else RaftSmall(path))
    return Initialiser(DIS() if name == "dis" else Zero())


class Zero(nn.Module):
    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        return torch.zeros_like(frame1[:, :2])


class DIS(nn.Module):
    """Dense inverse search (Kroeger et al. 2016) as OpenCV has it, one pair at a time on the CPU; frames are continued
    by their border to at least 16 pixels."""

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        import cv2  # here: only this initialiser needs it

        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        height, width = frame1.shape[-2:]
        pad = (0, max(0, DIS_SMALLEST - width), 0, max(0, DIS_SMALLEST - height))
        first, second = (_gray(F.pad(frame, pad, mode="replicate")) for frame in (frame1, frame2))
        flows = np.stack([search.calc(a, b, None) for a, b in zip(first, second, strict=True)])[:, :height, :width]
        return torch.from_numpy(flows).permute(0, 3, 1, 2).contiguous().to(frame1.device)


class RaftSmall(nn.Module):
    """RAFT-small (Teed and Deng 2020); frames are continued by their border to multiples of 8, at least 128."""

    def __init__(self, weights: Path, updates: int = 12) -> None:
        super().__init__()
        from torchvision.models.optical_flow import raft_small  # here: it takes a second to load

        self.network, self.updates = raft_small(weights=None), updates
        state = torch.load(weights, map_location="cpu", weights_only=True)
        if isinstance(state, dict):
            state = {_raft_name(str(key)): value for key, value in state.items()}
        load_by_key(self.network, state, weights)

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        height, width = frame1.shape[-2:]
        sides = [max(RAFT_SMALLEST, side + -side % RAFT_MULTIPLE) for side in (height, width)]
        pad = (0, sides[1] - width, 0, sides[0] - height)
        first, second = (F.pad(2 * frame - 1, pad, mode="replicate") for frame in (frame1, frame2))
        flow: Tensor = self.network(first, second, num_flow_updates=self.updates)[-1]
        return flow[:, :, :height, :width]


def find_weights(path: str) -> Path:
    """The file `path` below FPI_DATA or data/; an absolute path is taken as it is.

    Raises:
        FileNotFoundError: naming the places searched and the fix.
    """
    candidates = [(Path(path).expanduser(), "")] if Path(path).is_absolute() else []
    candidates = candidates or [(folder / path, label) for folder, label in search_places()]
    for candidate, _ in candidates:
        if candidate.is_file():
            return candidate
    places = ", ".join(str(candidate) for candidate, _ in candidates)
    raise FileNotFoundError(
        f"no weights at {places}: put the file there, or choose an initialiser without weights, dis or zero"
    )


def _raft_name(name: str) -> str:
    name = name.removeprefix("module.")
    for pattern, replacement in RAFT_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _gray(frames: Tensor) -> list[np.ndarray]:
    """Luma of RGB in [0, 1], as bytes."""
    luma = (frames * frames.new_tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(1)
    return list((255 * luma).round().clamp(0, 255).byte().cpu().numpy())
