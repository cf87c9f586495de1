"""What a result was computed with: code version, packages and class of hardware. No host name, no paths, no secrets."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tasks.engine.store import ROOT


@cache
def environment(gpu: bool = False) -> dict[str, Any]:
    """The content of env.json. `gpu`: the job computes on the GPU, so name it as the hardware."""
    return {
        "git": git_state(ROOT),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in declared()},
        "system": f"{platform.system()} {platform.machine()}",
        "hardware": hardware(gpu),
    }


def git_state(root: Path) -> dict[str, str | None]:
    """{"commit": sha or None, "dirty": None or a hash of everything that differs from the commit}.

    Both are None where git or the repository is missing (a downloaded archive).
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.decode().strip()).resolve() != root.resolve():
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    diff = (_git(root, "diff", "HEAD", "--binary") if commit else None) or b""
    digest, changed = hashlib.sha256(diff), bool(diff)
    for name in (_git(root, "ls-files", "--others", "--exclude-standard", "-z") or b"").split(b"\0"):
        path = root / os.fsdecode(name)
        if name and path.is_file():
            digest.update(name + path.read_bytes())
            changed = True
    sha = commit.decode().strip() if commit else None
    return {"commit": sha, "dirty": digest.hexdigest()[:16] if changed else None}


def hardware(gpu: bool = False) -> str:
    """The class of machine: the GPU's name, or the CPU's with the cores this process may use."""
    if gpu:
        import torch

        return torch.cuda.get_device_name()
    return f"{_cpu_model()}, {cores()} core{'s' if cores() > 1 else ''}"


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def declared() -> list[str]:
    """The distributions of the extra `suite`, as pyproject.toml names them, and OmegaConf, which comes with Hydra."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    suite = content["project"]["optional-dependencies"]["suite"]
    return sorted({"omegaconf", *(re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in suite)})


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
