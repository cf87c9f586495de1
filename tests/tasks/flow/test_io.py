"""tasks.flow.io and colors: round trips, refusals, the colour wheel."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from PIL import Image

from tasks.flow.io import FlowFileError, flo_size, image_size, read_flow, read_image, write_flo, write_kitti_png


def random_flow(*shape: int, seed: int = 0) -> torch.Tensor:
    return 30 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))


def test_flo_round_trip(tmp_path: Path) -> None:
    flow = random_flow(5, 8)
    write_flo(tmp_path / "a.flo", flow)
    back, valid = read_flow(tmp_path / "a.flo")
    assert torch.equal(back, flow) and back.dtype == torch.float32 and valid.all() and valid.shape == (5, 8)
    assert flo_size(tmp_path / "a.flo") == (5, 8)
    raw = (tmp_path / "a.flo").read_bytes()  # the format's layout: width, height, then u and v pixel by pixel
    assert struct.unpack("<fii", raw[:12]) == (202021.25, 8, 5)
    assert struct.unpack("<ff", raw[20:28]) == tuple(flow[:, 0, 1].tolist())


def test_unknown_and_not_finite_flow_is_masked(tmp_path: Path) -> None:
    flow = random_flow(4, 6)
    flow[0, 0, 0], flow[1, 1, 1] = 1.7e9, -1.2e9  # Middlebury's mark: no warning
    write_flo(tmp_path / "a.flo", flow)
    back, valid = read_flow(tmp_path / "a.flo")
    assert (~valid).nonzero().tolist() == [[0, 0], [1, 1]] and (back[:, ~valid] == 0).all()
    flow[1, 2, 2] = float("nan")
    write_flo(tmp_path / "a.flo", flow)
    with pytest.warns(UserWarning, match="a.flo: 1 of 24 pixels"):
        back, valid = read_flow(tmp_path / "a.flo")
    assert (~valid).sum() == 3 and torch.equal(back[:, valid], flow[:, valid])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, expected a .flo file of at least 12"),
        (b"FIEH" + bytes(20), "magic number b'FIEH', expected b'PIEH'"),
        (b"PIEH" + struct.pack("<ii", 0, 3), "size 0x3, expected sides of 1"),
        (b"PIEH" + struct.pack("<ii", 3, 10**6), "size 3x1000000"),
        (b"PIEH" + struct.pack("<ii", 2, 3) + bytes(47), "truncated: 59 bytes, expected 60 for 2x3"),
        (b"PIEH" + struct.pack("<ii", 2, 3) + bytes(49), "longer than its header says: 61 bytes, expected 60"),
    ],
)
def test_bad_flo_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.flo"
    path.write_bytes(content)
    with pytest.raises(FlowFileError, match=message) as caught:
        read_flow(path)
    assert "bad.flo" in str(caught.value) and "Fix:" in str(caught.value)


def test_kitti_round_trip_and_a_second_reader(tmp_path: Path) -> None:
    flow, valid = random_flow(7, 9), torch.rand(7, 9, generator=torch.Generator().manual_seed(1)) > 0.3
    write_kitti_png(tmp_path / "a.png", flow, valid)
    back, mask = read_flow(tmp_path / "a.png")
    assert torch.equal(mask, valid) and (back[:, ~valid] == 0).all()
    assert (back - flow)[:, valid].abs().max() <= 1 / 128  # half a step of the format
    assert torch.equal(back * 64, (back * 64).round())
    from torchvision.datasets._optical_flow import _read_16bits_png_with_flow_and_valid_mask

    theirs, their_mask = _read_16bits_png_with_flow_and_valid_mask(str(tmp_path / "a.png"))
    assert torch.equal(torch.as_tensor(theirs)[:, valid], back[:, valid]) and torch.equal(
        torch.as_tensor(their_mask), valid
    )
    with Image.open(tmp_path / "a.png") as image:  # checksums and structure hold in a third one
        image.load()


def test_kitti_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    flow, valid = torch.zeros(2, 3, 4), torch.ones(3, 4, dtype=torch.bool)
    flow[0, 1, 1] = 512
    with pytest.raises(ValueError, match=r"\[-512, 512\)"):
        write_kitti_png(tmp_path / "a.png", flow, valid)
    valid[1, 1] = False
    write_kitti_png(tmp_path / "a.png", flow, valid)
    with pytest.raises(ValueError, match="valid must be"):
        write_kitti_png(tmp_path / "a.png", flow, valid[:2])


def test_other_pngs_and_names_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "rgb.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, message in (("rgb.png", "3 channels of 16 bits"), ("text.png", "cannot be decoded")):
        with pytest.raises(FlowFileError, match=message):
            read_flow(tmp_path / name)
    with pytest.raises(FlowFileError, match="'.pfm'"):
        read_flow(tmp_path / "a.pfm")
    with pytest.raises(ValueError, match=r"\(2, H, W\)"):
        write_flo(tmp_path / "a.flo", torch.zeros(3, 4, 5))


def test_images(tmp_path: Path) -> None:
    Image.new("L", (6, 4), 77).save(tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png").tolist() == torch.full((3, 4, 6), 77).tolist()
    assert image_size(tmp_path / "gray.png") == (4, 6)
    (tmp_path / "cut.png").write_bytes((tmp_path / "gray.png").read_bytes()[:40])
    (tmp_path / "text.ppm").write_text("no picture")
    for name in ("cut.png", "text.ppm"):
        with pytest.raises(FlowFileError, match=name):
            read_image(tmp_path / name)
