"""tasks.bibtex.arff: what is read, and what each kind of bad file says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tasks.bibtex.arff import ArffError, read_sparse_arff

HEADER = """@relation tiny

@attribute a {0,1}
@attribute 'b c' {0, 1}
@attribute d {0,1}
@attribute TAG {0,1}

@data
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tiny.arff"
    path.write_text(text, encoding="utf-8")
    return path


def test_features_come_first_then_labels(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "{0 1,2 1,3 1}\n{}\n% a comment\n\n{ 1 1 , 2 0 }")
    z, y = read_sparse_arff(path, 3, 1)
    assert z.dtype == y.dtype == torch.uint8
    assert z.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert y.tolist() == [[1], [0], [0]]


@pytest.mark.parametrize(
    ("data", "line", "problem"),
    [
        ("{0 1}\n{0 1,1 x}\n", 10, "value 'x' is not binary, expected 0 or 1"),
        ("{0 2}\n", 9, "value '2' is not binary"),
        ("{0 1,3 1}\n{0 1,4 1}\n", 10, "index 4 is out of range, expected 0 to 3"),
        ("{0 1,3 1\n", 9, "expected `{index 1,index 1,...}`"),
        ("0,1,0,1\n", 9, "expected `{index 1,index 1,...}`"),
        ("{0 1,,3 1}\n", 9, "expected `index value` pairs, got ''"),
        ("{0 1,1}\n", 9, "expected `index value` pairs, got '1'"),
        ("{-1 1}\n", 9, "expected `index value` pairs, got '-1 1'"),
        ("{1 1,1 1}\n", 9, "an index is given twice"),
        ("", 8, "no data after @data"),
    ],
)
def test_bad_data_lines_are_named(tmp_path: Path, data: str, line: int, problem: str) -> None:
    path = write(tmp_path, HEADER + data)
    with pytest.raises(ArffError) as error:
        read_sparse_arff(path, 3, 1)
    message = str(error.value)
    assert message.startswith(f"{path}:{line}: ")
    assert problem in message and "Fix:" in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("@relation x\n@attribute a {0,1}\n", ":2: the file ends before @data"),
        ("@relation x\n@attribute a numeric\n@data\n", ":2: expected `@attribute <name> {0,1}`"),
        ("<html>not found</html>\n", ":1: expected @relation, @attribute or @data"),
        (HEADER.replace("@attribute d {0,1}\n", "") + "{0 1}\n", ":7: the header has 3 attributes, expected 4"),
    ],
)
def test_bad_headers_are_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ArffError, match="Fix:") as error:
        read_sparse_arff(write(tmp_path, text), 3, 1)
    assert problem in str(error.value)


@pytest.mark.parametrize(("n_features", "n_labels"), [(2, 1), (3, 2)])
def test_other_counts_than_the_file_s_name_the_keys_to_set(tmp_path: Path, n_features: int, n_labels: int) -> None:
    with pytest.raises(ArffError, match=r"has 4 attributes, expected \d.*data.n_features and data.n_labels"):
        read_sparse_arff(write(tmp_path, HEADER + "{0 1}\n"), n_features, n_labels)


@pytest.mark.data
def test_bibtex_has_its_published_counts(fpi_data: Path) -> None:
    z, y = read_sparse_arff(fpi_data / "bibtex" / "bibtex-train.arff", 1836, 159)
    assert z.shape == (4880, 1836) and y.shape == (4880, 159)
    assert y.sum(1).min() >= 1 and y.sum(1).max() == 28
    assert y.sum(1).float().mean() == pytest.approx(2.38, abs=0.005)
    z, y = read_sparse_arff(fpi_data / "bibtex" / "bibtex-test.arff", 1836, 159)
    assert z.shape == (2515, 1836) and y.shape == (2515, 159)
    assert y.sum(1).float().mean() == pytest.approx(2.44, abs=0.005)
