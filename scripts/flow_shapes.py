"""Write flying shapes to disk in FlyingChairs' layout: `python scripts/flow_shapes.py --pairs 100`, `make data-shapes`.

The pairs are those that the data configs flow_*_shapes train on; the folder is read like FlyingChairs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from tasks.engine.data import DATA_DIR
from tasks.flow.shapes import FlyingShapes, write_chairs
from tasks.flow.shapes_motion import Motions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--to", type=Path, default=DATA_DIR / "flow" / "FlyingShapes", metavar="DIR", help="folder")
    parser.add_argument("--pairs", type=int, default=100, help="how many, about 2.8 MB each (FlyingChairs: 22,872)")
    parser.add_argument("--first", type=int, default=1, help="number of the first pair to write, to share the work")
    parser.add_argument("--seed", type=int, default=0, help="of the set")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 512), metavar=("HEIGHT", "WIDTH"), help="pixels")
    parser.add_argument("--objects", type=int, nargs=2, default=(2, 20), metavar=("LEAST", "MOST"), help="a pair")
    parser.add_argument("--scale", type=float, default=1.0, help="of all displacements")
    parser.add_argument("--textures", type=int, default=64, help="generated textures")
    parser.add_argument("--outlines", type=int, default=100, help="outlines of shapes")
    parser.add_argument("--no-photographs", action="store_true", help="generated textures alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if not 1 <= arguments.first <= arguments.pairs:
            raise ValueError(f"--first must be 1 to --pairs ({arguments.pairs}), got {arguments.first}")
        height, width = arguments.size
        shapes = FlyingShapes(
            arguments.seed, height, width, tuple(arguments.objects), Motions(scale=arguments.scale),
            arguments.textures, not arguments.no_photographs, arguments.outlines,
        )  # fmt: skip
        write_chairs(shapes, arguments.to, arguments.first - 1, arguments.pairs)
    except (ValueError, ImportError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    print(arguments.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
