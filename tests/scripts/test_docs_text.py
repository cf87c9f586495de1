"""The pages tell the truth: their code runs, their commands exist, their error messages are those of the code."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from scripts.docs.deviations import deviations
from tasks.engine.config import experiments, resolve

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "scripts" / "docs").glob("*.md"))
TEXT = {page.stem: page.read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.parametrize("page", [name for name, text in TEXT.items() if "```python" in text])
def test_python_blocks_run(page: str) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT[page], flags=re.DOTALL):
        exec(compile(block, page, "exec"), names)


def commands(text: str) -> list[list[str]]:
    """The command lines of a page's plain blocks, as words, without comments."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    lines = "\n".join(block for language, block in blocks if not language).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


READMES = [ROOT / "README.md", *sorted(ROOT.glob("tasks/*/README.md"))]


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_training_command_composes(page: Path) -> None:
    found = [words for words in commands(page.read_text(encoding="utf-8")) if "scripts/train.py" in words]
    single = [words for words in found if "reproduce=" not in str(words) and "-m" not in words]  # not sweeps
    for words in (words for words in single if "experiment=" in str(words)):
        overrides = words[words.index("scripts/train.py") + 1 :]
        assert not any(override.is_sweep_override() for override in OverridesParser.create().parse_overrides(overrides))
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            resolve(compose("train", overrides))


def test_every_target_and_script_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = [(page, words) for page, text in TEXT.items() for words in commands(text)]
    for page, words in lines:
        if words[0] == "make":
            for target in (word for word in words[1:] if "=" not in word and "spring" not in word):
                assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"{page}: make {target}"
        for script in (word for word in words if re.fullmatch(r"scripts/\w+\.py", word)):
            assert (ROOT / script).is_file(), f"{page}: {script}"


def test_every_tutorial_is_of_a_task() -> None:
    packages = {name.partition("/")[0].partition("-")[0] for name in experiments()}
    tutorials = {name.removeprefix("tutorial-") for name in TEXT if name.startswith("tutorial-")}
    assert len(tutorials) >= 7 and tutorials <= packages
    assert all(f"tasks/{name}/README.md" in TEXT[f"tutorial-{name}"] for name in tutorials)


def messages() -> str:
    """Every string of the project's code, with … for what is put into it."""
    texts = [(ROOT / "Makefile").read_text(encoding="utf-8")]
    for path in [*(ROOT / "fpi").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_every_message_is_one_of_the_code() -> None:
    code = messages()
    cells = re.findall(r"^\| (`.*?) \|", TEXT["troubleshooting"], flags=re.MULTILINE)
    quoted = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) > 40
    ours = [message for message in quoted if not message.startswith("No module named")]  # Python's own
    unknown = []
    for message in ours:
        parts = [re.escape(part.strip()) for part in message.split("…") if part.strip(" '.,:()")]
        if not re.search(r"[^\n]*".join(parts), code):
            unknown.append(message)
    assert unknown == []


def test_the_deviations_are_those_of_the_tasks() -> None:
    page = deviations(ROOT / "tasks", "../../")
    for path in (ROOT / "tasks").glob("*/README.md"):
        text = path.read_text(encoding="utf-8")
        section = page.partition(f"tasks/{path.parent.name}/README.md#")[2].partition("\n## ")[0]
        numbers = re.findall(r"^- \*\*(D\d+)\*\*", text, re.MULTILINE) or re.findall(r"^\d+\. ", text, re.MULTILINE)
        assert numbers and len(re.findall(r"^- \*\*D\d+\*\* \S", section, re.MULTILINE)) == len(numbers)
