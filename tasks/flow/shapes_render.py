"""Draws scenes of flying shapes: both frames, the exact flow and the occlusion mask, in integers on any device.

A pixel's three 8-bit channels travel in one int64 (21 bits a channel), so that a bilinear sample or a blend of colours
is a few integer operations, and comes out the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.flow import shapes_masks, shapes_textures
from tasks.flow.shapes_motion import FRACTION, ONE, Scenes

CHANNEL = 21  # bits a channel
EACH = (1 << 2 * CHANNEL) | (1 << CHANNEL) | 1  # 1 in every channel
BYTE = 255 * EACH
STEPS = 64  # sub-pixel positions of a bilinear sample, and levels of opacity (6 bits)


@dataclass(frozen=True)
class Pairs:
    """A rendered batch: frames (B, 3, H, W) uint8; flow (B, 2, H, W) float32, pixels of frame 1 to frame 2;
    occluded (B, 1, H, W) bool: what frame 1 shows there is out of, or hidden in, frame 2; layer (B, 1, H, W) int64:
    the top layer of frame 1 (0: background, covering at least half of the pixel)."""

    frame1: Tensor
    frame2: Tensor
    flow: Tensor
    occluded: Tensor
    layer: Tensor


def pack(images: Tensor) -> Tensor:
    """(..., 3) integers of 0...255 as one int64 each."""
    images = images.long()
    return images[..., 0] | images[..., 1] << CHANNEL | images[..., 2] << 2 * CHANNEL


def unpack(packed: Tensor) -> Tensor:
    """The inverse of pack, for images: (B, H, W) to (B, 3, H, W) uint8."""
    return torch.stack([packed >> shift & 255 for shift in (0, CHANNEL, 2 * CHANNEL)], dim=1).to(torch.uint8)


def render(scenes: Scenes, textures: Tensor, outlines: Tensor, height: int, width: int) -> Pairs:
    """Draw a batch of scenes in frames of height x width.

    Args:
        textures: packed (n, 512, 512) int64 on the device to draw on; outlines: (n, 128, 128) int32 there, too.
    """
    device = textures.device
    tensors = {name: torch.from_numpy(array).to(device) for name, array in vars(scenes).items()}
    images, layers = zip(
        *(_frame(tensors, scenes, frame, textures, outlines, height, width) for frame in (0, 1)), strict=True
    )
    columns, rows = torch.arange(width, device=device), torch.arange(height, device=device)[:, None]
    flow = _flow(tensors, layers[0], columns, rows)
    half = ONE // 2
    x2, y2 = columns + (flow[:, 0] + half >> FRACTION), rows + (flow[:, 1] + half >> FRACTION)
    outside = (x2 < 0) | (x2 >= width) | (y2 < 0) | (y2 >= height)
    there = y2.clamp(0, height - 1) * width + x2.clamp(0, width - 1)
    hidden = layers[1].flatten(1).gather(1, there.flatten(1)).view_as(there) != layers[0]
    return Pairs(
        frame1=unpack(images[0]),
        frame2=unpack(images[1]),
        flow=flow.float() / ONE,
        occluded=(outside | hidden)[:, None],
        layer=layers[0][:, None],
    )


def _frame(
    tensors: dict[str, Tensor], scenes: Scenes, frame: int, textures: Tensor, outlines: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """One frame of the batch, packed (B, H, W), and its top layers (B, H, W)."""
    batch, layers = scenes.texture.shape
    image = torch.zeros(batch, height, width, dtype=torch.int64, device=textures.device)
    top = torch.zeros_like(image)
    for layer in range(layers):
        box = _window(scenes, layer, frame, height, width)
        if box is None:
            continue
        y0, y1, x0, x1 = box
        middle = tensors["middle"][:, layer, frame]
        dx = torch.arange(x0, x1, device=image.device) - middle[:, :1]  # (B, w)
        dy = torch.arange(y0, y1, device=image.device) - middle[:, 1:]
        colour = _texture(tensors, layer, frame, textures, dx, dy)
        if layer == 0:
            image = colour
            continue
        part = (slice(None), slice(y0, y1), slice(x0, x1))
        opacity = _opacity(tensors, layer, frame, outlines, dx, dy)
        image[part] = _mix(image[part], colour, opacity)
        top[part].masked_fill_(opacity >= STEPS // 2, layer)
    return image, top


def _window(scenes: Scenes, layer: int, frame: int, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Rows y0...y1 and columns x0...x1 that hold this layer in all scenes of the batch; None if it is nowhere seen."""
    if layer == 0:
        return 0, height, 0, width
    size = scenes.size[:, layer, frame]
    reach = size[size > 0] // 2 + 2
    if len(reach) == 0:
        return None
    middle = scenes.middle[size > 0, layer, frame]
    x0, y0 = ((middle - reach[:, None]).min(0)).clip(0)
    x1, y1 = ((middle + reach[:, None]).max(0) + 1).clip(0)
    x1, y1 = min(int(x1), width), min(int(y1), height)
    return (int(y0), y1, int(x0), x1) if x0 < x1 and y0 < y1 else None


def _coordinates(maps: Tensor, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Texel coordinates (B, h, w) int32 in 1/64, rounded, of pixels at dx (B, w), dy (B, h) from the middle."""
    m, n, tu, tv = (maps[:, i : i + 1] for i in range(4))
    half = 1 << FRACTION - 7
    across, down = (m * dx + tu + half).int(), (n * dy).int()
    u = (across[:, None, :] - down[:, :, None]) >> FRACTION - 6
    across, down = (n * dx + tv + half).int(), (m * dy).int()
    v = (across[:, None, :] + down[:, :, None]) >> FRACTION - 6
    return u, v


def _texture(tensors: dict[str, Tensor], layer: int, frame: int, textures: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Packed colours (B, h, w) of the layer's texture, repeated with mirrored copies and tinted."""
    u, v = _coordinates(tensors["texture_map"][:, layer, frame], dx, dy)
    side = shapes_textures.SIDE
    bits = side.bit_length() - 1

    def mirrored(i: Tensor) -> Tensor:
        return (i ^ -(i >> bits & 1)) & side - 1

    columns = mirrored(u >> 6), mirrored((u >> 6) + 1)
    base = (tensors["texture"][:, layer, None, None] * side**2).int()
    rows = base + mirrored(v >> 6) * side, base + mirrored((v >> 6) + 1) * side
    colour = _bilinear(textures, rows, columns, u & 63, v & 63)
    colour = colour.add_(2048 * EACH).bitwise_right_shift_(12).bitwise_and_(BYTE)
    tint = tensors["tint"][:, layer]
    return _mix(colour, pack(tint[:, 1:])[:, None, None], tint[:, :1, None])


def _opacity(tensors: dict[str, Tensor], layer: int, frame: int, outlines: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Opacity 0...64 (B, h, w) int32: the part of the pixel inside the outline, from its distance to the edge."""
    u, v = _coordinates(tensors["outline_map"][:, layer, frame], dx, dy)
    side = shapes_masks.SIDE
    u, v = u.clamp_(0, (side - 1) * 64 - 1), v.clamp_(0, (side - 1) * 64 - 1)
    first = (tensors["outline"][:, layer, None, None] * side**2).int() + (v >> 6) * side
    columns = u >> 6
    distance = _bilinear(outlines, (first, first + side), (columns, columns + 1), u & 63, v & 63)
    # from 2^-12 of 1/64 texel to 1/64 pixel (below 2^31 up to a size of 1,023); a size of 0 (no shape) leaves nothing
    size = tensors["size"][:, layer, frame, None, None].int()
    return ((distance * size >> 12 + side.bit_length() - 1) + STEPS // 2).clamp_(0, STEPS).mul_(size > 0)


def _bilinear(
    bank: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], fu: Tensor, fv: Tensor
) -> Tensor:
    """2^12 times the bank's values between texels (flat indices row + column), fu and fv in 1/64."""
    flat = bank.flatten()

    def values(index: Tensor) -> Tensor:
        return flat.index_select(0, index.flatten()).view(index.shape)

    fu, fv = fu.to(flat.dtype), fv.to(flat.dtype)
    upper, lower = (_between(values(row + columns[0]), values(row + columns[1]), fu) for row in rows)
    return _between(upper, lower, fv)


def _between(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """64 a + (b - a) weight: exact in packed channels, too, because each channel's result is not negative."""
    return (b - a).mul_(weight).add_(a, alpha=STEPS)


def _mix(under: Tensor, over: Tensor, weight: Tensor) -> Tensor:
    """Packed colours: `over` with weight 0...64 on `under`, rounded in every channel."""
    return _between(under, over, weight).add_(32 * EACH).bitwise_right_shift_(6).bitwise_and_(BYTE)


def _flow(tensors: dict[str, Tensor], layer: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """S(x) - x (B, 2, H, W) in 2^-16 pixels, S the motion of each pixel's top layer."""
    a, b, dx, dy = tensors["motion"].unbind(-1)
    cx, cy = tensors["centre"].unbind(-1)
    p = a - ONE
    flat = layer.flatten(1)
    p, b, ox, oy = (one.gather(1, flat).view_as(layer) for one in (p, b, dx - p * cx + b * cy, dy - b * cx - p * cy))
    return torch.stack([p * columns - b * rows + ox, b * columns + p * rows + oy], dim=1)
