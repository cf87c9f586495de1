"""Download a data set of data/manifest.yaml: `python scripts/data.py bibtex` (or `make data-bibtex`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tasks.engine.data import DATA_DIR
from tasks.engine.fetch import fetch
from tasks.engine.manifest import DataError, load_manifest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="entry of data/manifest.yaml")
    parser.add_argument("--to", type=Path, default=DATA_DIR, metavar="DIR", help="data folder (default: %(default)s)")
    parser.add_argument("--mirror", metavar="URL", help="scheme and host to use instead of the manifest's")
    arguments = parser.parse_args()
    try:
        paths = fetch(arguments.name, arguments.to, base_url=arguments.mirror)
        dataset = next(d for d in load_manifest().values() if arguments.name in (d.name, *(f.path for f in d.files)))
    except DataError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    for path in paths:
        print(path)
    print(f"{dataset.title}\nlicence: {dataset.licence} ({dataset.terms})\ncite: {dataset.citation}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
