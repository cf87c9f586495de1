"""A data set of one file: its manifest, and its bytes whole and cut short."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

GOOD = b"@relation bibtex\n" * 4000
TRUNCATED = GOOD[: len(GOOD) // 2]


def write_manifest(path: Path, **changes: object) -> Path:
    file = {
        "path": "bibtex/train.arff",
        "url": "https://raw.example.org/owner/repo/0123abc/train.arff",
        "sha256": hashlib.sha256(GOOD).hexdigest(),
        "size": len(GOOD),
    }
    entry = {"title": "t", "source": "s", "licence": "l", "terms": "on request only", "citation": "c"}
    path.write_text(yaml.safe_dump({"bibtex": {**entry, "files": [{**file, **changes}]}}))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "manifest.yaml")
