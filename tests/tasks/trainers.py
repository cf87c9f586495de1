"""The trainer of the tests: on the CPU, nothing printed, nothing written."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl


def quiet(epochs: int, **options: Any) -> pl.Trainer:
    """A trainer of so many epochs; `options` are Lightning's."""
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        **options,
    )
