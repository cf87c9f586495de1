"""Keep the line numbers of fpi/EQUATIONS.md, and of the deviations in tasks/*/README.md, in step with the code.

A link to a line says which piece of code or config it means, in the table's next cell or as the link's title,

    | [picard.py:37](solvers/picard.py#L37) | `return gx` |        [base.yaml:7](../base.yaml#L7 "lr: 1.0e-3")

and this finds the line: exactly one must contain the piece.

    python scripts/equations.py            # rewrite the numbers
    python scripts/equations.py --check    # only say whether they are right (exit code 1 if not)
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TASKS = [ROOT / "tasks", ROOT / "scripts" / "templates" / "task" / "tasks"]
PAGES = [ROOT / "fpi" / "EQUATIONS.md", *(page for tasks in TASKS for page in sorted(tasks.glob("*/README.md")))]
_LINE = re.compile(r"\]\([^)\s]*#L\d+")
_PLACE = re.compile(
    r"\[(?P<name>[^\]:]+)(?::\d+)?\]\((?P<path>[^)#\s]+)#L\d+"
    r"(?P<between> \"|\) \| `)(?P<piece>(?<=\")[^\"]+(?=\"\))|(?<=`)[^`]+)"
)


class AnchorError(ValueError):
    """A link to a line names no piece of it, or one that is not on exactly one line of the file."""


def renumber(text: str, folder: Path) -> str:
    """The page with the present line numbers.

    Raises:
        AnchorError: a link to a line without a piece, or one whose piece is on no line of its file, or on several.
    """

    def locate(match: re.Match[str]) -> str:
        name, path, between, piece = match.group("name", "path", "between", "piece")
        lines = (folder / path).read_text(encoding="utf-8").splitlines() if (folder / path).is_file() else []
        found = [number for number, line in enumerate(lines, 1) if piece in line]
        if len(found) != 1:
            raise AnchorError(f"{path}: expected one line with `{piece}`, found {len(found)}; change the page's link")
        return f"[{name}:{found[0]}]({path}#L{found[0]}{between}{piece}"

    if unnamed := _LINE.search(_PLACE.sub("", text)):
        raise AnchorError(f'{unnamed[0][2:]}: a link to a line quotes a piece of it, as in (file.py#L1 "x = 1")')
    return _PLACE.sub(locate, text)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    code = 0
    for page in PAGES:
        before, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT)
        try:
            after = renumber(before, page.parent)
        except AnchorError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            code = 1
            continue
        if not options.check:
            page.write_text(after, encoding="utf-8")
        elif after != before:
            print(f"{name} has old line numbers: run python scripts/equations.py", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
