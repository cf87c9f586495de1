"""FlowNetS (Dosovitskiy et al. 2015), with FlowNetPytorch's settings: see README, sources."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MULTIPLE = 64  # of both sides of the frames: six halvings
RGB_MEAN = (0.45, 0.432, 0.411)  # of FlyingChairs, subtracted from frames in [0, 1]
DIV_FLOW = 20.0  # the network's unit of flow, pixels

# (channels, kernel, stride) of the ten convolutions, 6 -> ... -> 1024
ENCODER = {
    "conv1": (64, 7, 2),
    "conv2": (128, 5, 2),
    "conv3": (256, 5, 2),
    "conv3_1": (256, 3, 1),
    "conv4": (512, 3, 2),
    "conv4_1": (512, 3, 1),
    "conv5": (512, 3, 2),
    "conv5_1": (512, 3, 1),
    "conv6": (1024, 3, 2),
    "conv6_1": (1024, 3, 1),
}
SKIPS = {5: "conv5_1", 4: "conv4_1", 3: "conv3_1", 2: "conv2"}  # level -> encoder output concatenated there
DECODER = {5: 512, 4: 256, 3: 128, 2: 64}  # level -> channels of its deconvolution


class FlowNetS(nn.Module):
    """Two frames to flow at five scales.

    Ten convolutions with LeakyReLU (0.1), four deconvolutions, and at every level a 3×3 head whose flow is upsampled
    and handed to the next; deconvolutions, heads and upsampling have no bias.  Weights start as He et al.'s for that
    slope.

    Args:
        width: factor on all channels of the convolutions and deconvolutions (paper: 1; less for small machines).
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = {name: max(1, round(width * size)) for name, (size, _, _) in ENCODER.items()}
        inputs = 6
        for name, (_, kernel, stride) in ENCODER.items():
            self.add_module(name, _conv(inputs, channels[name], kernel, stride))
            inputs = channels[name]
        self.predict = nn.ModuleDict({"6": _head(inputs)})
        self.upsample, self.deconv = nn.ModuleDict(), nn.ModuleDict()
        for level, size in DECODER.items():
            outputs = max(1, round(width * size))
            self.deconv[str(level)] = nn.Sequential(
                nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.LeakyReLU(0.1, inplace=True)
            )
            self.upsample[str(level)] = nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False)
            inputs = channels[SKIPS[level]] + outputs + 2
            self.predict[str(level)] = _head(inputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, frame1: Tensor, frame2: Tensor) -> list[Tensor]:
        """(flow2, ..., flow6) at 1/4 ... 1/64 of the resolution, in units of 20 pixels.

        Args:
            frame1, frame2: (batch, 3, height, width) RGB in [0, 1]; both sides multiples of 64.

        Raises:
            ValueError: a side that is no multiple of 64 (`estimate` pads).
        """
        height, width = frame1.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise ValueError(f"FlowNetS: both sides must be multiples of {MULTIPLE}, got {height} x {width}: pad first")
        mean = frame1.new_tensor(RGB_MEAN).reshape(1, 3, 1, 1)
        x = torch.cat([frame1 - mean, frame2 - mean], dim=1)
        features = {}
        for name in ENCODER:
            features[name] = x = self.get_submodule(name)(x)
        flow = self.predict["6"](x)
        flows = [flow]
        for level in DECODER:
            key = str(level)
            x = torch.cat([features[SKIPS[level]], self.deconv[key](x), self.upsample[key](flow)], dim=1)
            flow = self.predict[key](x)
            flows.insert(0, flow)
        return flows


def estimate(network: nn.Module, frame1: Tensor, frame2: Tensor) -> Tensor:
    """The flow of a FlowNet at full resolution, (batch, 2, height, width) in pixels, for frames of any size.

    Frames are continued by their border to multiples of 64 on the right and below; flow2 is enlarged bilinearly.

    Raises:
        ValueError: frames of different sizes.
    """
    if frame1.shape != frame2.shape:
        raise ValueError(f"both frames must have one size, got {tuple(frame1.shape)} and {tuple(frame2.shape)}")
    height, width = frame1.shape[-2:]
    pad = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    flow = network(*(F.pad(frame, pad, mode="replicate") for frame in (frame1, frame2)))[0]
    full = F.interpolate(flow, scale_factor=4, mode="bilinear", align_corners=False)
    return DIV_FLOW * full[:, :, :height, :width]


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2), nn.LeakyReLU(0.1, inplace=True)
    )


def _head(inputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, 2, 3, padding=1, bias=False)
