"""tasks.bibtex.data: what each split may see, and the generated sample."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from tasks.bibtex.arff import ArffError
from tasks.bibtex.data import BibtexData, GeneratedLabels, MultiLabelData
from tasks.engine import data as engine_data
from tasks.engine.data import DataDamagedError


def rows(data: torch.utils.data.TensorDataset) -> set[bytes]:
    z, y = data.tensors
    return {row.numpy().tobytes() for row in torch.cat([z, y], 1)}


class Numbered(MultiLabelData):
    """Feature 0 is the row number; test rows count on from training rows."""

    label, stand_in = "numbered", True

    def load(self):  # type: ignore[no-untyped-def]
        z = torch.arange(30.0)[:, None].repeat(1, 2)
        return (z[:20], z[:20, :1]), (z[20:], z[20:, :1])


def numbered(**options: object) -> Numbered:
    data = Numbered(2, 1, batch_size=4, **options)  # type: ignore[arg-type]
    data.setup("fit")
    return data


def seen(loader: torch.utils.data.DataLoader) -> list[int]:
    return [int(v) for z, _ in loader for v in z[:, 0]]


def test_honest_protocol_never_shows_a_test_row() -> None:
    data = numbered(holdout=0.25, seed=3)
    train, val = seen(data.train_dataloader()), seen(data.val_dataloader())
    assert sorted(train + val) == list(range(20))
    assert len(val) == 5
    assert seen(data.test_dataloader()) == list(range(20, 30))


def test_paper_protocol_validates_on_the_test_set() -> None:
    data = numbered(holdout=0.0)
    assert sorted(seen(data.train_dataloader())) == list(range(20))
    assert seen(data.val_dataloader()) == seen(data.test_dataloader()) == list(range(20, 30))


def test_the_split_follows_the_seed() -> None:
    splits = [sorted(seen(numbered(holdout=0.25, seed=seed).val_dataloader())) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_each_epoch_has_its_own_order() -> None:
    loader = numbered().train_dataloader()
    first = seen(loader)
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert seen(loader) != first and sorted(seen(loader)) == sorted(first)


def test_standardisation_knows_the_rows_trained_on_only() -> None:
    data = numbered(holdout=0.25, standardise=True)
    z = data.train.tensors[0]  # type: ignore[union-attr]
    assert torch.allclose(z.mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(z.std(0, correction=0), torch.ones(2), atol=1e-5)
    assert data.test.tensors[0].mean() > 1


@pytest.mark.parametrize("holdout", [-0.1, 1.0, 0.01, 0.99])
def test_impossible_holdouts_are_refused(holdout: float) -> None:
    with pytest.raises(ValueError, match="data.holdout"):
        numbered(holdout=holdout)


def test_limits_come_before_the_holdout() -> None:
    data = numbered(holdout=0.5, n_train=8, n_test=3)
    assert sorted(seen(data.train_dataloader()) + seen(data.val_dataloader())) == list(range(8))
    assert seen(data.test_dataloader()) == [20, 21, 22]


def test_generated_sample_is_the_same_bits_everywhere() -> None:
    digest = hashlib.sha256()
    for split in GeneratedLabels(batch_size=10, seed=5).load():
        for part in split:
            digest.update(part.numpy().astype("uint8").tobytes())
    assert digest.hexdigest()[:16] == "58b64c7d4b1ea08c"


def test_generated_sample_has_the_shape_of_the_task() -> None:
    data = GeneratedLabels(batch_size=10)
    assert data.label == "generated sample" and data.stand_in
    (z, y), (test_z, test_y) = data.load()
    assert z.shape == (1500, 300) and y.shape == (1500, 40) and test_z.shape == (500, 300) and test_y.shape == (500, 40)
    assert y.sum(1).min() >= 1 and 2 < y.sum(1).float().mean() < 5
    # neighbours of a topic go together far more often than by chance, other labels do not
    together = torch.corrcoef(y.float().T)
    inside = torch.block_diag(*[torch.ones(5, 5)] * 8).bool() & ~torch.eye(40, dtype=torch.bool)
    neighbour = inside & (torch.roll(torch.eye(5), 1, 0).repeat(8, 8) > 0)
    outside = ~inside & ~torch.eye(40, dtype=torch.bool)
    assert together[neighbour].mean() > 0.3 > 0.05 > together[outside].mean()


def test_generated_sample_refuses_odd_sizes() -> None:
    with pytest.raises(ValueError, match="multiple of 5"):
        GeneratedLabels(n_labels=12, batch_size=10)


@pytest.mark.data
def test_bibtex_in_both_protocols(fpi_data: Path) -> None:
    data = BibtexData(1836, 159, batch_size=32, holdout=0.1)
    data.setup()
    assert data.label == "bibtex" and not data.stand_in
    assert (len(data.train), len(data.val), len(data.test)) == (4392, 488, 2515)  # type: ignore[arg-type]
    paper = BibtexData(1836, 159, batch_size=32)
    paper.setup()
    assert (len(paper.train), len(paper.val), len(paper.test)) == (4880, 2515, 2515)  # type: ignore[arg-type]
    assert rows(paper.test) == rows(data.test)


def test_a_damaged_file_is_named_with_its_first_bad_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPI_DATA", str(tmp_path))
    monkeypatch.setattr(engine_data, "DATA_DIR", tmp_path / "none")
    attributes = "".join(f"@attribute a{i} {{0,1}}\n" for i in range(4))
    path = tmp_path / "bibtex" / "bibtex-train.arff"
    path.parent.mkdir()
    path.write_text(f"@relation tiny\n{attributes}@data\n{{0 1,3 1}}\ngarbage\n")
    data = BibtexData(3, 1, batch_size=4)
    with pytest.raises(ArffError, match=f"^{path}:8: expected .*, got 'garbage'"):
        data.setup()
    path.write_text(f"@relation tiny\n{attributes}@data\n{{0 1,3 1}}\n")  # readable, but not the published file
    with pytest.raises(DataDamagedError, match=r"damaged\n(.|\n)*bibtex-train.arff has \d+ bytes, expected 2"):
        data.setup()
