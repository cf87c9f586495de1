"""Lightning data modules of the task: Bibtex itself, and a generated sample that stands in for it without data.

Batches are pairs (z, y) of float32 tensors: z (batch, n_features) indicators, y (batch, n_labels) labels in {0, 1}.
"""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tasks.bibtex.arff import read_sparse_arff
from tasks.engine.batches import EpochBatches, mix_seed
from tasks.engine.data import DataDamagedError, locate


class MultiLabelData(L.LightningDataModule):
    """What both data sets share: hold-out, standardisation, limits and batches.

    Args:
        n_features, n_labels: widths of z and y.
        batch_size: training samples a batch; evaluation takes `eval_batch_size`.
        seed: seeds the hold-out split and the batch order.
        holdout: part of the training set kept for validation. 0: the paper's protocol, in which the *test set* is the
            validation set, so that epoch and threshold are test-selected. Above 0: the honest protocol; training and
            validation never see a test row.
        standardise: scale features by the mean and (standard deviation + 1e-6) of the rows trained on.
        n_train, n_test: use only the first so many rows of each (before the hold-out); None: all.
    """

    label: str
    stand_in: bool

    def __init__(
        self,
        n_features: int,
        n_labels: int,
        batch_size: int,
        seed: int = 0,
        holdout: float = 0.0,
        standardise: bool = False,
        n_train: int | None = None,
        n_test: int | None = None,
        eval_batch_size: int = 512,
    ) -> None:
        super().__init__()
        if not 0 <= holdout < 1:
            raise ValueError(f"data.holdout must be in [0, 1), got {holdout}: 0 (paper) or for instance 0.1 (honest)")
        self.n_features, self.n_labels = n_features, n_labels
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed
        self.holdout, self.standardise = holdout, standardise
        self.n_train, self.n_test = n_train, n_test
        self.train: TensorDataset | None = None

    def load(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Training and test set, each (z, y)."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Load and split once; every stage has all three sets."""
        if self.train is not None:
            return
        (train_z, train_y), (test_z, test_y) = self.load()
        train_z, train_y = train_z[: self.n_train].float(), train_y[: self.n_train].float()
        test_z, test_y = test_z[: self.n_test].float(), test_y[: self.n_test].float()
        n_val = round(self.holdout * len(train_z))
        if self.holdout and not 0 < n_val < len(train_z):
            raise ValueError(f"data.holdout={self.holdout} leaves no sample on one side of {len(train_z)} rows")
        order = torch.randperm(len(train_z), generator=torch.Generator().manual_seed(mix_seed(self.seed, 1)))
        if n_val:
            kept, held = order[n_val:].sort().values, order[:n_val].sort().values
            val_z, val_y = train_z[held], train_y[held]
            train_z, train_y = train_z[kept], train_y[kept]
        else:
            val_z, val_y = test_z, test_y
        if self.standardise:
            mean, scale = train_z.mean(0), train_z.std(0, correction=0) + 1e-6
            train_z, val_z, test_z = ((z - mean) / scale for z in (train_z, val_z, test_z))
        self.train = TensorDataset(train_z, train_y)
        self.val, self.test = TensorDataset(val_z, val_y), TensorDataset(test_z, test_y)

    def train_dataloader(self) -> DataLoader:
        assert self.train is not None, "setup() first"
        return _loader(self.train, self.batch_size, self.seed, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return _loader(self.val, self.eval_batch_size, self.seed, shuffle=False)

    def test_dataloader(self) -> DataLoader:
        return _loader(self.test, self.eval_batch_size, self.seed, shuffle=False)


class BibtexData(MultiLabelData):
    """Bibtex (Katakis et al. 2008) in its published split: 4,880 + 2,515 samples, 1,836 features, 159 labels.

    Raises:
        tasks.engine.data.DataNotFoundError: without the data.
        arff.ArffError: files of another form; names file and line, also where the file is not the published one.
    """

    label = "bibtex"
    stand_in = False

    def load(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        try:
            folder = locate("bibtex")
        except DataDamagedError as error:
            for path in error.damaged:
                self._read(path)  # says where, if it is no ARFF of this form
            raise
        return self._read(folder / "bibtex-train.arff"), self._read(folder / "bibtex-test.arff")

    def _read(self, path: Path) -> tuple[Tensor, Tensor]:
        return read_sparse_arff(path, self.n_features, self.n_labels)


class GeneratedLabels(MultiLabelData):
    """A generated sample with planted label correlations, the stand-in for Bibtex on a machine without it.

    Labels come in topics of 5: a sample has one or two topics, and within a topic each label brings its neighbour along
    more often than not. Features are noisy indicators of topics and labels, too weak to give each label away alone, so
    that a model that knows which labels go together scores higher. Made of uniform numbers and comparisons only, from
    `sample_seed`: the same bits on every machine, whatever the job's seed.
    """

    label = "generated sample"
    stand_in = True

    def __init__(
        self, n_features: int = 300, n_labels: int = 40, sample_seed: int = 0, n_train: int = 1500, n_test: int = 500,
        **options: object,
    ) -> None:  # fmt: skip
        super().__init__(n_features, n_labels, n_train=n_train, n_test=n_test, **options)  # type: ignore[arg-type]
        if n_labels % 5 or n_features < 2 * n_labels:
            raise ValueError(
                "generated sample: n_labels must be a multiple of 5 and n_features at least twice as many, "
                f"got n_labels={n_labels}, n_features={n_features}"
            )
        self.sample_seed = sample_seed

    def load(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        assert self.n_train is not None and self.n_test is not None
        n, topics = self.n_train + self.n_test, self.n_labels // 5
        random = np.random.default_rng(self.sample_seed)
        owner = random.integers(0, self.n_labels, self.n_features)  # the label that each feature indicates
        strength = 0.1 + 0.4 * random.random(self.n_features)

        topic = np.zeros((n, topics), dtype=bool)
        topic[np.arange(n), random.integers(0, topics, n)] = True
        second = random.random(n) < 0.3
        topic[second, random.integers(0, topics, n)[second]] = True
        y = np.zeros((n, topics, 5), dtype=bool)
        y[np.arange(n), :, random.integers(0, 5, n)] = True  # at least one label in each topic
        y |= np.roll(y, 1, axis=2) & (random.random(y.shape) < 0.6)
        y |= random.random(y.shape) < 0.1
        labels = (y & topic[:, :, None]).reshape(n, self.n_labels)

        on = labels[:, owner] * strength + topic[:, owner // 5] * 0.15 + 0.02
        z = random.random((n, self.n_features)) < on
        zs, ys = torch.from_numpy(z), torch.from_numpy(labels)
        return (zs[: self.n_train], ys[: self.n_train]), (zs[self.n_train :], ys[self.n_train :])


def _loader(data: TensorDataset, batch_size: int, seed: int, shuffle: bool) -> DataLoader:
    return DataLoader(data, sampler=EpochBatches(len(data), batch_size, seed, shuffle=shuffle), batch_size=None)
