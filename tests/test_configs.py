"""What a config says of itself: an experiment's header, and a comment on every number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [ROOT / "configs", ROOT / "scripts" / "templates" / "task" / "configs"]
CONFIGS = [path for folder in FOLDERS for path in sorted(folder.rglob("*.yaml"))]
EXPERIMENTS = [path for path in CONFIGS if path.parent.parent.name == "experiment"]


def uncommented(text: str) -> list[str]:
    """The lines with a number and no comment; one on a list's key speaks for all that is in the list."""
    lines = text.splitlines()

    def numbers(node: yaml.Node | None, speaking: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                of_list = (key.start_mark.line,) if isinstance(value, yaml.SequenceNode) else ()
                yield from numbers(value, (*speaking, *of_list))
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from numbers(item, speaking)
        elif isinstance(node, yaml.ScalarNode) and re.fullmatch(r"-?\d[\d.]*(e-?\d+)?", node.value):
            yield (node.start_mark.line, *speaking)

    silent = [
        line for line, *others in numbers(yaml.compose(text)) if not any(" # " in lines[n] for n in (line, *others))
    ]
    return [lines[line].strip() for line in dict.fromkeys(silent)]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_header_says_what_is_reproduced_the_time_and_the_command(path: Path) -> None:
    header = path.read_text(encoding="utf-8").partition("\ndefaults:")[0].splitlines()
    assert header[0] == "# @package _global_"
    title, *rest = [line for line in header[1:] if not line.startswith("#   ")]
    assert re.search(r"\b(tables?|figures?) \d", title, re.IGNORECASE), "the first line names table or figure"
    assert any(re.search(r"\d (s|min)\b|\b(seconds?|minutes?|hours?|days?)\b", line, re.IGNORECASE) for line in rest), (
        "a line below the first says how long a job takes"
    )
    command = f"#   python scripts/train.py experiment={path.parent.name}/{path.stem} "
    assert any(line.startswith(command) for line in header)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_number_has_a_comment(path: Path) -> None:
    """Its unit, the paper's value or the reason."""
    assert uncommented(path.read_text(encoding="utf-8")) == []


def test_numbers_without_a_comment_are_found() -> None:
    lists = "d:  # all\n  - {e: 1}\n  - 2\n"
    text = f"a: 1.0e-3\nb: ${{x}}  # 5\nc: [1, 2]\n{lists}f:  # of g\n  g: 3\n  h: 4  # epochs\ni: 5.\nj: .\n"
    assert uncommented(text) == ["a: 1.0e-3", "c: [1, 2]", "g: 3", "i: 5."]
