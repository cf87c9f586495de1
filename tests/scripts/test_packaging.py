"""The wheel: the typed core and nothing else, with metadata that a package index can show."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_is_the_core(tmp_path: Path) -> None:
    copy = tmp_path / "copy"  # building leaves folders behind
    for name in ("fpi", "tasks", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    built = subprocess.run(build, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = message_from_bytes(archive.read(next(name for name in names if name.endswith("METADATA"))))
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"fpi"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "fpi").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources and "fpi/py.typed" in names
    needed = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert [text.partition("<")[0].partition(">")[0] for text in needed] == ["torch"]
    assert "# fpi" in str(metadata.get_payload()) and metadata["Description-Content-Type"] == "text/markdown"
    use = "import sys, fpi, torch; assert fpi.__file__.startswith(sys.path[1]); "
    use += "print(fpi.fixed_point(torch.cos, torch.ones(1, 1)))"
    environment = {"PYTHONPATH": str(wheel), "OMP_NUM_THREADS": "1"}
    used = subprocess.run([sys.executable, "-c", use], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert used.stdout.startswith("tensor([[0.739"), used.stderr


def test_what_builds_the_wheel_is_declared() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = content["project"]["optional-dependencies"]["dev"]
    assert any(text.startswith("build") for text in declared)
    assert set(content["build-system"]["requires"]) <= set(declared)  # --no-isolation
