"""Keep the line numbers of fpi/EQUATIONS.md in step with the code.

A row of the page names a file and a piece of code, and this finds the line: exactly one must contain it.

    python scripts/equations.py            # rewrite the numbers
    python scripts/equations.py --check    # only say whether they are right (exit code 1 if not)
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "fpi" / "EQUATIONS.md"
_PLACE = re.compile(r"\[(?P<name>[^\]:]+)(?::\d+)?\]\((?P<path>[^)#]+)#L\d+\) \| `(?P<code>[^`]+)`")


class AnchorError(ValueError):
    """A piece of code named by the page is not on exactly one line of its file."""


def renumber(text: str, folder: Path) -> str:
    """The page with the present line numbers.

    Raises:
        AnchorError: a row's code is on no line of its file, or on several.
    """

    def locate(match: re.Match[str]) -> str:
        name, path, code = match["name"], match["path"], match["code"]
        lines = (folder / path).read_text(encoding="utf-8").splitlines()
        found = [number for number, line in enumerate(lines, 1) if code in line]
        if len(found) != 1:
            raise AnchorError(f"{path}: expected one line with `{code}`, found {len(found)}; change the page's row")
        return f"[{name}:{found[0]}]({path}#L{found[0]}) | `{code}`"

    return _PLACE.sub(locate, text)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    try:
        after = renumber(before, PAGE.parent)
    except AnchorError as error:
        print(f"error: {PAGE.name}: {error}", file=sys.stderr)
        return 1
    if not options.check:
        PAGE.write_text(after, encoding="utf-8")
    elif after != before:
        print(f"{PAGE.name} has old line numbers: run python scripts/equations.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
