"""The documentation: it builds without a warning, every link in it resolves, and it covers the API and every task."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fpi
from scripts.docs.links import broken
from scripts.docs.verdicts import task_configs, verdicts
from tasks.engine import store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-c", "scripts/docs", "-d", str(folder / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, ".", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.slow
def test_the_links_of_the_site_resolve(site: Path) -> None:
    assert broken(site) == []
    first = (site / "index.html").read_text(encoding="utf-8")
    assert "scripts/docs/index.html" in first


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path) -> None:
    page = (site / "scripts" / "docs" / "api.html").read_text(encoding="utf-8")
    names = [f"fpi.{name}" for name in fpi.__all__ if name != "contraction"]
    names += [f"fpi.contraction.{name}" for name in fpi.contraction.__all__]
    assert [name for name in names if f'id="{name}"' not in page] == []
    assert ":class:" not in page and ":func:" not in page


@pytest.mark.slow
def test_a_link_to_a_line_leads_to_that_line(site: Path) -> None:
    page = (site / "fpi" / "EQUATIONS.html").read_text(encoding="utf-8")
    assert "../source/fpi/layers.py.html#L-" in page
    source = (site / "source" / "fpi" / "layers.py.html").read_text(encoding="utf-8")
    assert 'id="L-1"' in source and "FPI_GD" in source


@pytest.mark.slow
def test_the_site_needs_no_network(site: Path) -> None:
    loaded = [
        (page.name, word)
        for page in site.rglob("*.html")
        for word in page.read_text(encoding="utf-8").split()
        if word.startswith('src="http') or (word.startswith('href="http') and ".css" in word)
    ]
    assert loaded == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a> <a href="https://example.org/x">out</a> <p id="x">')
    (tmp_path / "b.html").write_text(
        '<p id="there"> <a href="a.html#x">a</a> <img src="c.png"> <a href="#there">up</a>'
    )
    assert broken(tmp_path) == ["a.html: b.html#here (no such anchor)", "b.html: c.png (no such file)"]
    with pytest.raises(ValueError, match="no HTML page"):
        broken(tmp_path / "none")


def test_the_verdicts_are_those_of_the_record() -> None:
    published = ROOT / "results" / "published"
    tasks = task_configs(ROOT)
    page = verdicts(published, tasks, "")
    for task in tasks:
        summary = store.read_json(published / task / "summary.json")
        title = tasks[task]["title"]
        line = next(line for line in page.splitlines() if line.startswith((f"| [{title}](", f"| {title} |")))
        if summary is None:
            assert "nothing published yet" in line
            continue
        section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
        entries = summary["claims"] + [cell for cell in summary["cells"] if cell["verdict"]]
        for verdict in {entry["verdict"] for entry in entries}:
            count = sum(entry["verdict"] == verdict for entry in entries)
            assert verdict in line and section.count(f"| **{verdict}** |") == count
