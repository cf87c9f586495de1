"""tasks.denoising.data: what each split may see, noise and counts."""

from __future__ import annotations

import pytest
import torch

from tasks.denoising.data import DenoisingData, Images
from tasks.engine.batches import fixed_noise


class Numbered(DenoisingData):
    """Training images of value i / 100, test images of value 0.5 + i / 100."""

    label, stand_in = "numbered", True

    def load(self) -> Images:
        train = [(f"train{i}", torch.full((1, 4, 4), i / 100)) for i in range(20)]
        test = [(f"test{i}", torch.full((1, 4, 4), 0.5 + i / 100)) for i in range(8)]
        wide = [("wide", torch.full((1, 4, 6), 0.9))]
        return Images(train, {"test": test, "other": [*test[:1], *wide, *test[1:2]]})


def numbered(**options: object) -> Numbered:
    settings: dict = {"sigma": 25, "batch_size": 3, "n_train": 20, "n_test": 8, "eval_batch_size": 5} | options
    data = Numbered(**settings)
    data.setup("fit")
    return data


def seen(loader: torch.utils.data.DataLoader) -> list[float]:
    return [round(float(v), 2) for batch in loader for v in batch[-1][:, 0, 0, 0]]


def test_paper_protocol_validates_on_the_test_images() -> None:
    data = numbered()
    assert sorted(seen(data.train_dataloader())) == [i / 100 for i in range(20)]
    assert seen(data.val_dataloader()) == pytest.approx([0.5 + i / 100 for i in range(8)])


def test_honest_protocol_never_shows_a_test_image() -> None:
    data = numbered(holdout=0.25, seed=3)
    train, val = seen(data.train_dataloader()), seen(data.val_dataloader())
    assert sorted(train + val) == [i / 100 for i in range(20)] and len(val) == 5
    assert sorted(seen(numbered(holdout=0.25, seed=4).val_dataloader())) != val


def test_training_noise_is_fresh_each_epoch_and_a_function_of_seed_and_epoch() -> None:
    data = numbered(n_train=18)
    loader = data.train_dataloader()
    epochs = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        epochs.append(
            {float(t[0, 0, 0]): (n - t) for noisy, truth in loader for n, t in zip(noisy, truth, strict=True)}
        )
    for value in epochs[0]:
        torch.testing.assert_close(epochs[0][value], epochs[2][value])
        assert not torch.equal(epochs[0][value], epochs[1][value])
    other = numbered(seed=1).train_dataloader()
    assert not torch.equal(next(iter(other))[0], next(iter(loader))[0])
    noise = torch.cat([noise.flatten() for epoch in epochs[:2] for noise in epoch.values()])
    assert float(noise.std()) == pytest.approx(25 / 255, rel=0.1)


def test_test_noise_belongs_to_the_image_whatever_the_run() -> None:
    (_, noisy, truth), *_ = numbered(seed=0).test_dataloader()
    (_, again, _), *_ = numbered(seed=7, batch_size=1, eval_batch_size=2).test_dataloader()
    torch.testing.assert_close(again, noisy[:2])
    expected = torch.stack([fixed_noise(f"test{i}", (1, 4, 4)) for i in range(5)])
    torch.testing.assert_close((noisy - truth) * 255 / 25, expected, atol=1e-4, rtol=1e-4)


def test_fixed_noise_is_the_same_on_every_machine() -> None:
    noise = fixed_noise("bsd68/test001.png", (1, 100, 100))
    assert noise.flatten()[:3].tolist() == pytest.approx([0.491354, 1.748499, 1.238195], abs=1e-5)
    assert float(noise.mean()) == pytest.approx(0, abs=0.03) and float(noise.std()) == pytest.approx(1, abs=0.03)


def test_batches_hold_images_of_one_size_and_sets_keep_their_names() -> None:
    batches = [(name, tuple(truth.shape)) for name, _, truth in numbered(robustness=[15, 50]).test_dataloader()]
    assert batches == [
        ("test", (5, 1, 4, 4)),
        ("test", (3, 1, 4, 4)),
        ("other", (1, 1, 4, 4)),
        ("other", (1, 1, 4, 6)),
        ("other", (1, 1, 4, 4)),
        *[("test@15", (5, 1, 4, 4)), ("test@15", (3, 1, 4, 4)), ("test@50", (5, 1, 4, 4)), ("test@50", (3, 1, 4, 4))],
    ]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"sigma": 0}, "data.sigma"),
        ({"sigma": -5}, "data.sigma"),
        ({"robustness": [15, 0]}, "data.robustness"),
        ({"holdout": 1.0}, "data.holdout"),
        ({"holdout": 0.01}, "data.holdout"),
        ({"n_test": 0}, "data.n_test"),
        ({"batch_size": 0}, "data.batch_size"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, object], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        numbered(**options)


def test_too_few_images_are_refused_or_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="20 usable training images, the protocol needs 400"):
        numbered(n_train=400)
    data = numbered(n_train=400, strict=False)
    assert len(data.train) == 20  # type: ignore[arg-type]
    assert "the protocol needs 400: going on with these" in capsys.readouterr().err
