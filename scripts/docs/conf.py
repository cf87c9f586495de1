"""Sphinx configuration: `make docs`. The source folder is the repository, so that its READMEs are pages as they are."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

project = "fpi"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "deviations", "repository", "verdicts"]
root_doc = "scripts/docs/index"
include_patterns = [
    "README.md",
    "data/README.md",
    "fpi/*.md",
    "results/published/*.md",
    "results/published/*/*.md",
    "scripts/docs/*.md",
    "tasks/*/*.md",
]
exclude_patterns = [".*", "build", "outputs", "multirun", "wandb", "data/[!R]*", "results/[!p]*", "results/paper"]

myst_heading_anchors = 3  # [text](page.md#heading) is checked
myst_url_schemes = {
    "http": None,
    "https": None,
    "mailto": None,
    "source": "{{path}}#{{fragment}}",  # written by the extension `repository`
}

default_role = "code"  # docstrings have plain backticks around code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "fpi"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
