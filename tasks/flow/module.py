"""The LightningModules of the flow rows: what they share, FlowNetS with and without a refinement, learned energies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import fpi
from tasks.engine import ranks
from tasks.engine.lean import Module
from tasks.engine.store import write_csv
from tasks.flow import pictures, traces
from tasks.flow.energy import EnergyLayer
from tasks.flow.flownet import estimate
from tasks.flow.initialisers import Initialiser
from tasks.flow.losses import mean_epe, multiscale_loss

Batch = dict[str, Any]
MakeOptimizer = Callable[[Iterable[Any]], torch.optim.Optimizer]


class FlowModule(Module):
    """Training and evaluation of a flow estimator; a row defines `layer`, `loss` and `estimate`.

    A batch is {frame1, frame2: (batch, 3, height, width) RGB in [0, 1]; flow: (batch, 2, height, width) pixels; valid:
    (batch, 1, height, width) boolean}; an evaluation batch holds one pair, of any size, and may have a name set/pair.

    Logged per epoch: train/loss; test/epe, the mean over the evaluation pairs of their average end-point error in
    pixels at full resolution (nothing is selected by it), and test/epe_<set> where several sets are evaluated;
    test/unknown, the share of evaluation pixels without truth; cost/g_evaluations (evaluations of g, forward and
    backward, in training and evaluation, counted in batches); and for FPI layers, averaged over the training batches,
    solver/{forward,backward}_{iterations,residual,converged}.

    Args:
        optimizer: called with parameter groups; None: nothing is trained.
        scheduler: called with the optimiser, advanced every epoch; None: constant learning rate.
        weight_decay: of weights; biases have none.
        examples: evaluation pairs whose flow is kept for the figures.
    """

    def __init__(
        self,
        optimizer: MakeOptimizer | None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        weight_decay: float = 0.0,
        examples: int = 3,
    ) -> None:
        super().__init__()
        self.optimizer, self.scheduler, self.weight_decay = optimizer, scheduler, weight_decay
        self.examples, self.g_evaluations, self.stepped = examples, 0, False
        self.errors: dict[str, list[float]] = {}
        self.known: list[float] = []

    @property
    def layer(self) -> fpi.FPILayer | None:
        """The FPI layer, or None."""
        return None

    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar."""
        raise NotImplementedError

    def estimate(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        """Flow at full resolution, (batch, 2, height, width) in pixels, of frames of any size."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        if self.optimizer is None:
            return None
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        weights = [parameter for parameter in parameters if parameter.dim() > 1]
        others = [parameter for parameter in parameters if parameter.dim() <= 1]
        optimizer = self.optimizer(
            [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        )
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "epoch"}}

    def on_train_epoch_start(self) -> None:
        self.g_evaluations = 0

    def training_step(self, batch: Batch, index: int) -> Tensor | None:
        self.stepped = self.optimizer is not None and ranks.any_rank(bool(batch["valid"].any()))
        if not self.stepped:
            return None
        loss = self.loss(batch)
        self._count()
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["flow"]), sync_dist=True)
        return loss

    def on_train_batch_end(self, outputs: object, batch: Batch, index: int) -> None:
        info = None if self.layer is None else self.layer.info
        if not self.stepped or info is None:
            return
        solves = {"forward": info}
        if info.backward is not None:
            solves["backward"] = info.backward
            self.g_evaluations += info.backward.evaluations
        for name, solve in solves.items():
            values = {"iterations": solve.iterations, "residual": solve.residual, "converged": solve.converged}
            for quantity, value in values.items():
                self._log_mean(f"solver/{name}_{quantity}", value, len(batch["flow"]))

    def validation_step(self, batch: Batch, index: int) -> None:
        flow = self.estimate(batch["frame1"], batch["frame2"])
        self._count()
        error = mean_epe(flow, batch["flow"], batch["valid"])
        for name, value in zip(batch.get("name", [""] * len(flow)), error.tolist(), strict=True):
            self.errors.setdefault(name.partition("/")[0], []).append(value)
        self.known.append(float(batch["valid"].float().mean()))

    def on_validation_epoch_end(self) -> None:
        # a pair without any truth has no error
        errors = {name: [e for e in values if e == e] for name, values in ranks.merged(self.errors).items()}
        every = [e for values in errors.values() for e in values]
        self.log("test/epe", _mean(every))
        for name, values in errors.items():
            if len(errors) > 1:
                self.log(f"test/epe_{name}", _mean(values))
        self.log("test/unknown", 1 - _mean(ranks.gathered(self.known)))
        self.log_dict(ranks.mean({"cost/g_evaluations": self.g_evaluations}))
        self.errors, self.known = {}, []

    def artifacts(self, directory: Path) -> dict[str, Path]:
        """Write examples.npz and examples.png, and, for an FPI layer, convergence.csv: both solves on one pair.

        Returns:
            Pictures by title.
        """
        pairs = [self._on_device(batch) for _, batch in zip(range(self.examples), self._evaluation(), strict=False)]
        if not pairs:
            return {}
        traces.write_examples(directory / "examples.npz", pairs, self.estimate)
        if self.layer is not None:
            write_csv(directory / "convergence.csv", traces.convergence(self.layer, lambda: self.loss(pairs[0])))
        return {"flow": pictures.draw_examples(directory / "examples.npz")}

    def _evaluation(self) -> Iterable[Batch]:
        loader: Iterable[Batch] = self.trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        return loader

    def _on_device(self, batch: Batch) -> Batch:
        return {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in batch.items()}

    def _count(self) -> None:
        info = None if self.layer is None else self.layer.info
        self.g_evaluations += 0 if info is None else info.evaluations

    def _log_mean(self, name: str, value: Tensor, size: int) -> None:
        self.log(name, value.float().mean(), on_step=False, on_epoch=True, batch_size=size, sync_dist=True)


class FlowNetModule(FlowModule):
    """FlowNetS, alone or with a refinement of its finest flow, trained end to end by FlowNet's multi-scale loss.

    Args:
        model: `tasks.flow.fpi_module.refined(...)`.
        options: as for `FlowModule`.
    """

    distributes = True  # (the learned energies' loss is a mean over the pairs that have truth, not over all)

    def __init__(self, model: nn.Module, **options: Any) -> None:
        super().__init__(**options)
        self.model = model

    @property
    def layer(self) -> fpi.FPILayer | None:
        refinement = getattr(self.model, "refinement", None)
        return refinement if isinstance(refinement, fpi.FPILayer) else None

    def loss(self, batch: Batch) -> Tensor:
        return multiscale_loss(self.model(batch["frame1"], batch["frame2"]), batch["flow"], batch["valid"])

    def estimate(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        return estimate(self.model, frame1, frame2)


class EnergyModule(FlowModule):
    """An initialiser's flow, refined by a layer that descends a learned energy; the loss is the EPE (eq. 6.3).

    Args:
        initialiser: x0 = initialiser(frame1, frame2), frozen.
        refinement: `tasks.flow.energy.EnergyLayer(...)`; None: the initialiser's flow is the result.
        path_steps: plain gradient steps along which artifacts follow the flow (figure 6.6).
        options: as for `FlowModule`.
    """

    def __init__(
        self, initialiser: Initialiser, refinement: EnergyLayer | None = None, path_steps: int = 10, **options: Any
    ) -> None:
        super().__init__(**options)
        self.initialiser, self.refinement, self.path_steps = initialiser, refinement, path_steps

    @property
    def layer(self) -> fpi.FPILayer | None:
        return self.refinement

    def loss(self, batch: Batch) -> Tensor:
        error = mean_epe(self.estimate(batch["frame1"], batch["frame2"]), batch["flow"], batch["valid"])
        return error[error == error].mean()

    def estimate(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        start = self.initialiser(frame1, frame2)
        if self.refinement is None:
            return start
        flow: Tensor = self.refinement((frame1, frame2), x0=start)
        return flow

    def artifacts(self, directory: Path) -> dict[str, Path]:
        """Also write steps.csv, EPE and energy along gradient steps, and path.npz, the flow of one pair on the way."""
        drawn = super().artifacts(directory)
        if self.refinement is not None and drawn:
            batches = (self._on_device(batch) for batch in self._evaluation())
            rows, path = traces.along_steps(self.refinement, self.initialiser, batches, self.path_steps)
            write_csv(directory / "steps.csv", rows)
            traces.write_path(directory / "path.npz", path)
        return drawn


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
