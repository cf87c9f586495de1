"""PWC-DC-Net (Sun et al. 2018): pyramid, warping, cost volume, dense blocks and context network.

Its parameters have the names of NVlabs' published weights, which users fetch themselves (CC BY-NC-SA 4.0).  The code is
written from the paper and the network's published settings.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.flow.operators import cost_volume, warp, warp_mask

MULTIPLE = 64
DIV_FLOW = 20.0
RADIUS = 4
PYRAMID = (16, 32, 64, 96, 128, 196)  # channels of levels 1 ... 6
DENSE = (128, 128, 96, 64, 32)  # channels the layers of a decoder add
CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))  # (channels, dilation)
FINEST = 2  # level of the result, 1/4 of the resolution


class PWCNet(nn.Module):
    """Flow of two frames, refined from level 6 (1/64 of the resolution) to level 2 (1/4)."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for level, channels in enumerate(PYRAMID, 1):
            for name in _pyramid_names(level):
                self.add_module(name, _conv(inputs, channels, stride=2 if inputs != channels else 1))
                inputs = channels
        costs = (2 * RADIUS + 1) ** 2
        for level in range(len(PYRAMID), FINEST - 1, -1):
            inputs = costs if level == len(PYRAMID) else costs + PYRAMID[level - 1] + 4
            for index, channels in enumerate(DENSE):
                self.add_module(f"conv{level}_{index}", _conv(inputs, channels))
                inputs += channels
            self.add_module(f"predict_flow{level}", nn.Conv2d(inputs, 2, 3, padding=1))
            self.add_module(f"deconv{level}", nn.ConvTranspose2d(2, 2, 4, 2, 1))  # level 2's is published, but unused
            if level > FINEST:
                self.add_module(f"upfeat{level}", nn.ConvTranspose2d(inputs, 2, 4, 2, 1))
        for index, (channels, dilation) in enumerate(CONTEXT, 1):
            self.add_module(f"dc_conv{index}", _conv(inputs, channels, dilation=dilation))
            inputs = channels
        self.add_module(f"dc_conv{len(CONTEXT) + 1}", nn.Conv2d(inputs, 2, 3, padding=1))

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """Flow at full resolution, (batch, 2, height, width) in pixels.

        Args:
            frame1, frame2: (batch, 3, height, width) RGB in [0, 1], any size: frames are resized to multiples of 64,
                and the flow back.
        """
        height, width = frame1.shape[-2:]
        size = [-(-side // MULTIPLE) * MULTIPLE for side in (height, width)]
        first, second = (self.pyramid(_resize(frame.flip(1), size)) for frame in (frame1, frame2))  # BGR
        flow = DIV_FLOW * _resize(self.decode(first, second), (height, width))
        return flow * flow.new_tensor([width / size[1], height / size[0]]).reshape(1, 2, 1, 1)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Features of levels 1 ... 6 of an image whose sides are multiples of 64."""
        levels = []
        for level in range(1, len(PYRAMID) + 1):
            for name in _pyramid_names(level):
                image = self._run(name, image)
            levels.append(image)
        return levels

    def decode(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Flow at level 2, in units of 20 full-resolution pixels, from the two pyramids."""
        flow = up_flow = up_features = torch.empty(0)
        for level in range(len(PYRAMID), FINEST - 1, -1):
            one, two = first[level - 1], second[level - 1]
            if level == len(PYRAMID):
                x = F.leaky_relu(cost_volume(one, two, RADIUS), 0.1)
            else:
                pixels = up_flow * (DIV_FLOW / 2**level)  # 0.625 ... 5 pixels of this level a unit
                warped = warp(two, pixels) * warp_mask(pixels)
                x = torch.cat([F.leaky_relu(cost_volume(one, warped, RADIUS), 0.1), one, up_flow, up_features], dim=1)
            for index in range(len(DENSE)):
                x = torch.cat([self._run(f"conv{level}_{index}", x), x], dim=1)
            flow = self._run(f"predict_flow{level}", x)
            if level > FINEST:
                up_flow, up_features = self._run(f"deconv{level}", flow), self._run(f"upfeat{level}", x)
        for index in range(1, len(CONTEXT) + 2):
            x = self._run(f"dc_conv{index}", x)
        return flow + x

    def _run(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(name)(x)
        return out


def load_pwcnet(path: Path | str) -> PWCNet:
    """PWC-Net with published weights (`pwc_net.pth.tar`), in evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no state of this network; the message names keys that are missing or unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no PWC-Net weights at {path}: fetch pwc_net.pth.tar of NVlabs/PWC-Net (CC BY-NC-SA 4.0) and put it there"
        )
    content = torch.load(path, map_location="cpu", weights_only=True)
    network = PWCNet()
    load_by_key(network, content.get("state_dict", content) if isinstance(content, dict) else content, path)
    return network.eval()


def load_by_key(network: nn.Module, state: object, path: Path) -> None:
    """Load a state dict, ignoring the prefix `module.` of data-parallel training.

    Raises:
        ValueError: keys or shapes are not the network's; names the first of each kind.
    """
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected a dictionary of tensors by name")
    found = {str(key).removeprefix("module."): value for key, value in state.items()}
    expected = network.state_dict()
    wrong = {
        "missing": sorted(expected.keys() - found.keys()),
        "unknown": sorted(found.keys() - expected.keys()),
        "of another shape": sorted(
            key for key in expected.keys() & found.keys() if getattr(found[key], "shape", None) != expected[key].shape
        ),
    }
    if any(wrong.values()):
        listed = "; ".join(f"{len(keys)} {kind} ({', '.join(keys[:3])})" for kind, keys in wrong.items() if keys)
        raise ValueError(f"{path} does not hold weights of {type(network).__name__}: keys {listed}")
    network.load_state_dict(found)


def _pyramid_names(level: int) -> tuple[str, str, str]:
    """The published names of a level's convolutions in the order of their use; level 6 differs."""
    order = ("aa", "a", "b") if level == len(PYRAMID) else ("a", "aa", "b")
    return tuple(f"conv{level}{name}" for name in order)  # type: ignore[return-value]


def _conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation), nn.LeakyReLU(0.1))


def _resize(x: Tensor, size: tuple[int, ...] | list[int]) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
