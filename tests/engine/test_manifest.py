"""The manifest: a closed set of keys, listings, and that the project's own is pinned."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tasks.engine.data import locate
from tasks.engine.manifest import ManifestError, load_manifest
from tests.engine.data_files import manifest as manifest
from tests.engine.data_files import write_manifest


def test_unknown_name_lists_the_known(manifest: Path) -> None:
    with pytest.raises(ManifestError, match="no data 'mnist' .* bibtex"):
        locate("mnist", manifest=manifest)


def test_malformed_manifest_names_file_and_key(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "manifest.yaml", colour="red")
    with pytest.raises(ManifestError, match=r"manifest\.yaml: bibtex\.files\[0\].*unknown keys \['colour'\]"):
        load_manifest(path)
    path.write_text("bibtex: [")
    with pytest.raises(ManifestError, match=r"manifest\.yaml"):
        load_manifest(path)


def test_the_project_manifest_is_pinned_and_complete() -> None:
    manifest = load_manifest()
    assert {"bibtex", "bibtex-authors", "train400", "bsdsval100", "flyingchairs"} <= set(manifest)
    assert len(manifest["train400"].files) == 480
    for dataset in manifest.values():
        assert dataset.files and dataset.licence and dataset.terms and dataset.citation
        for file in dataset.files:
            if file.sha256 is None:
                assert "no checksum" in dataset.terms  # its authors publish none, and say so
                continue
            assert re.fullmatch("[0-9a-f]{64}", file.sha256) and file.size is not None and file.size > 0
            assert not Path(file.path).is_absolute() and ".." not in file.path
            if file.url is not None and "github" in file.url:
                # a commit or a release; elsewhere the digest alone says that it is the same file
                assert re.match("https://.*/([0-9a-f]{40}|releases/download)/", file.url), f"{file.url} is not pinned"


def test_a_listing_stands_for_the_files_of_a_folder(tmp_path: Path) -> None:
    content = b"image"
    (tmp_path / "list.txt").write_text(f"{hashlib.sha256(content).hexdigest()} 5 a b.png\n", encoding="utf-8")
    entry = "title: t\n  source: s\n  licence: l\n  terms: t\n  citation: c\n  files:"
    listed = "\n    - {listing: list.txt, path: set/images, url: 'https://host/folder'}\n"
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(f"set:\n  {entry}{listed}", encoding="utf-8")
    dataset = load_manifest(manifest)["set"]
    (file,) = dataset.files
    assert (file.path, file.url) == ("set/images/a b.png", "https://host/folder/a%20b.png")
    assert dataset.size == file.size == 5
    (tmp_path / "list.txt").write_text("no listing\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="manifest.yaml"):
        load_manifest(manifest)
