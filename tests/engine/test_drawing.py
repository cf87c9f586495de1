"""One drawing makes the PNG and the SVG that matplotlib makes by drawing twice."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tasks.engine import drawing

DPI = 150
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture
def fig() -> Iterator[Figure]:
    """A curve, a dashed line, markers, a band, an image, a legend and texts."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(5, 3))
    x = np.linspace(0.0, 1.0, 5)
    left.plot(x, x**2, "o", label="markers")
    left.plot(x, x, linestyle="--", linewidth=3, label="dashed")
    left.fill_between(x, x - 0.1, x + 0.1, alpha=0.2)
    left.scatter(x, 1 - x, s=30 * x, c=x)
    left.set_title("Squares")
    left.legend()
    right.imshow(np.arange(12.0).reshape(3, 4))
    yield fig
    plt.close(fig)


def own_svg(fig: Figure) -> str:
    """What matplotlib writes."""
    file = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "salt"}):
        fig.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def test_the_png_is_matplotlibs(fig: Figure) -> None:
    png, _ = drawing.draw(fig, DPI, "salt")
    picture = Image.open(io.BytesIO(png))
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(canvas.buffer_rgba())[..., :3])
    assert picture.size == (5 * DPI, 3 * DPI) and picture.info["dpi"] == pytest.approx((DPI, DPI), rel=1e-3)


def numbers(svg: str, attribute: str, pattern: str = "(.*)") -> list[list[float]]:
    """The numbers in every such attribute, where it matches, of the elements outside <defs>."""
    root = ElementTree.fromstring(svg)
    for parent in [*root.iter()]:
        for child in [child for child in parent if child.tag.endswith("defs")]:
            parent.remove(child)
    found = (re.search(pattern, element.attrib.get(attribute, ""), re.DOTALL) for element in root.iter())
    return [[float(number) for number in NUMBER.findall(one[1])] for one in found if one and one[1]]


def test_the_svg_has_matplotlibs_shapes(fig: Figure) -> None:
    """At the same places, but for what is fitted to the pixels: in units of which there are DPI in an inch."""
    ours, theirs = drawing.draw(fig, DPI, "salt")[1], own_svg(fig)
    for svg, box in ((ours, "0 0 750 450"), (theirs, "0 0 360 216")):
        assert ElementTree.fromstring(svg).attrib["width"] == "360pt"
        assert ElementTree.fromstring(svg).attrib["viewBox"] == box
    for mine, reference in zip(numbers(ours, "d"), numbers(theirs, "d"), strict=True):
        np.testing.assert_allclose(np.array(mine) * 72 / DPI, reference, atol=0.6)


@pytest.mark.parametrize("length", ["stroke-width: ([^;]*)", "stroke-dasharray: ([^;]*)"])
def test_the_svg_has_matplotlibs_lines(fig: Figure, length: str) -> None:
    ours, theirs = (
        {tuple(np.round(scale * np.array(found), 3)) for found in numbers(svg, "style", length)}
        for svg, scale in ((drawing.draw(fig, DPI, "salt")[1], 72 / DPI), (own_svg(fig), 1))
    )
    assert theirs and theirs <= ours
    assert ours - theirs <= {(1.0,)}  # the one width that needs no mention in points


def test_the_svg_has_matplotlibs_text_sizes(fig: Figure) -> None:
    ours, theirs = (
        np.ravel(numbers(svg, "transform", r"\) scale\(([\d.]+) -"))
        for svg in (drawing.draw(fig, DPI, "salt")[1], own_svg(fig))
    )
    assert len(theirs) > 10
    np.testing.assert_allclose(ours * 72 / DPI, theirs, rtol=1e-4)


def test_the_same_figure_is_the_same_bytes(fig: Figure) -> None:
    assert drawing.draw(fig, DPI, "salt") == drawing.draw(fig, DPI, "salt")


def test_figures_share_no_identifier(fig: Figure) -> None:
    def markers(salt: str) -> set[str]:
        return set(re.findall(r'id="(m[0-9a-f]{10})"', drawing.draw(fig, DPI, salt)[1]))

    assert markers("one") and not markers("one") & markers("other")
