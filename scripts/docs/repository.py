"""Links from pages to the rest of the repository: a source file becomes a page of its own, its lines become anchors.

`[solvers/base.py:71](solvers/base.py#L71)` works in a repository viewer and, by this extension, on the built site; a
link to a folder leads to its README. Links to other pages, pictures and data are MyST's, which warns of missing ones.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

LINK = re.compile(r"\]\((?P<path>[^)\s#:]+)(?:#(?P<anchor>[^)\s]*))?(?P<title> \"[^\"]*\")?\)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".cff": "yaml", ".txt": "text", ".lock": "text"}
NAMES = {"Makefile": "make", "Dockerfile": "docker", "LICENSE": "text"}
FOLDER = "source"  # of the built site, where the source files' pages are

log = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", lambda app: setattr(app, "linked_sources", set()))
    app.connect("source-read", rewrite)
    app.connect("html-collect-pages", pages)
    app.connect("build-finished", redirect)
    return {"parallel_read_safe": False}


def rewrite(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point the links of a page to source files and folders at what the site has for them."""
    root, folder = Path(app.srcdir), (Path(app.srcdir) / docname).parent

    def target(match: re.Match[str]) -> str:
        file = Path(os.path.normpath(folder / match["path"]))
        if not file.is_relative_to(root):
            log.warning("link out of the repository: %s", match["path"], location=docname)
        elif file.is_dir():
            if (file / "README.md").is_file():
                return f"]({os.path.relpath(file, folder)}/README.md)"
            log.warning("link to a folder without README.md: %s", match["path"], location=docname)
        elif language(file) and file.is_file():
            name = file.relative_to(root).as_posix()
            app.linked_sources.add(name)  # type: ignore[attr-defined]
            anchor = re.sub(r"^L(\d+)$", r"L-\1", match["anchor"] or "")
            return f"](source:{os.path.relpath(root / FOLDER / name, folder)}.html#{anchor}{match['title'] or ''})"
        return match[0]

    source[0] = LINK.sub(target, source[0])


def language(file: Path) -> str | None:
    """Pygments' name for a file that is shown as a page, None for one that is not."""
    return NAMES.get(file.name) or LANGUAGES.get(file.suffix)


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages of all source files that some page links to."""
    highlighter = app.builder.highlighter  # type: ignore[attr-defined]
    for name in sorted(app.linked_sources):  # type: ignore[attr-defined]
        file = Path(app.srcdir) / name
        text = file.read_text(encoding="utf-8")
        code = highlighter.highlight_block(text, language(file), linenos="inline", lineanchors="L", anchorlinenos=True)
        yield f"{FOLDER}/{name}", {"title": name, "body": f"<h1>{html.escape(name)}</h1>{code}"}, "page.html"


def redirect(app: Sphinx, exception: Exception | None) -> None:
    """index.html at the top of the site leads to the first page."""
    if exception is None:
        first = app.builder.get_target_uri(app.config.root_doc)
        page = f'<!doctype html><title>fpi</title><meta http-equiv="refresh" content="0; url={first}">'
        page += f'<a href="{first}">Documentation of fpi</a>\n'
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")
