"""Sparse ARFF of a binary multi-label data set: attributes `{0,1}`, features first, then labels.

A data line lists the attributes that are 1: `{0 1,5 1,1840 1}`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

_ATTRIBUTE = re.compile(r"@attribute\s+('[^']*'|\"[^\"]*\"|\S+)\s+\{\s*0\s*,\s*1\s*\}", re.IGNORECASE)
_ENTRY = r"\s*\d+\s+[01]\s*"
_LINE = re.compile(rf"\{{(?:{_ENTRY}(?:,{_ENTRY})*|\s*)\}}")
_FIX = "Fix: get the original file again (`make data-bibtex`)"


class ArffError(ValueError):
    """A file that is not the sparse binary ARFF expected; the message names file, line, expectation and fix."""


def read_sparse_arff(path: str | Path, n_features: int, n_labels: int) -> tuple[Tensor, Tensor]:
    """Read features and labels as dense uint8 tensors of shapes (rows, n_features) and (rows, n_labels).

    Raises:
        ArffError: an empty file, a header without `@data` or with another number of attributes than
            n_features + n_labels, a corrupt line, an index out of range or given twice, a value other than 0 and 1.
        OSError: the file cannot be read.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    width = n_features + n_labels
    first = _read_header(path, lines, n_features, n_labels)
    rows = []
    for number in range(first, len(lines)):
        line = lines[number].strip()
        if not line or line.startswith("%"):
            continue
        if not _LINE.fullmatch(line):
            _explain(path, number + 1, line)
        numbers = np.array(line[1:-1].replace(",", " ").split(), dtype=np.int64)
        indices, values = numbers[::2], numbers[1::2]
        if indices.size and indices.max() >= width:
            _fail(path, number + 1, f"index {indices.max()} is out of range, expected 0 to {width - 1}")
        if np.unique(indices).size < indices.size:
            _fail(path, number + 1, "an index is given twice, expected each at most once")
        rows.append(indices[values == 1])
    if not rows:
        _fail(path, len(lines), "no data after @data, expected one line for each sample")
    dense = np.zeros((len(rows), width), dtype=np.uint8)
    dense[np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows)] = 1
    table = torch.from_numpy(dense)
    return table[:, :n_features], table[:, n_features:]


def _read_header(path: Path, lines: list[str], n_features: int, n_labels: int) -> int:
    """Check the header; the index of the first line after `@data`."""
    if not any(line.strip() for line in lines):
        raise ArffError(f"{path}: the file is empty, expected a sparse ARFF file. {_FIX}.")
    attributes = 0
    for number, line in enumerate(lines):
        keyword = line.strip().lower()
        if keyword.startswith("@attribute"):
            if not _ATTRIBUTE.fullmatch(line.strip()):
                _fail(path, number + 1, f"expected `@attribute <name> {{0,1}}`, got {_shorten(line)}")
            attributes += 1
        elif keyword == "@data":
            if attributes != n_features + n_labels:
                expected = f"{n_features + n_labels} ({n_features} features and {n_labels} labels)"
                _fail(
                    path, number + 1, f"the header has {attributes} attributes, expected {expected}",
                    "Fix: set data.n_features and data.n_labels to those of the file",
                )  # fmt: skip
            return number + 1
        elif keyword and not keyword.startswith(("@relation", "%")):
            _fail(path, number + 1, f"expected @relation, @attribute or @data, got {_shorten(line)}")
    _fail(path, len(lines), "the file ends before @data, expected a header and then data")


def _explain(path: Path, number: int, line: str) -> NoReturn:
    """Raise the error of a data line that does not match."""
    if not (line.startswith("{") and line.endswith("}")):
        _fail(path, number, f"expected `{{index 1,index 1,...}}`, got {_shorten(line)}")
    entry = next(e for e in line[1:-1].split(",") if not re.fullmatch(_ENTRY, e))
    if re.fullmatch(r"\s*\d+\s+\S+\s*", entry):
        _fail(path, number, f"value {_shorten(entry.split()[1])} is not binary, expected 0 or 1")
    _fail(path, number, f"expected `index value` pairs, got {_shorten(entry)}")


def _fail(path: Path, number: int, problem: str, fix: str = _FIX) -> NoReturn:
    raise ArffError(f"{path}:{number}: {problem}. {fix}.")


def _shorten(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[:limit] + "...")
