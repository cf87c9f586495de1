"""The VAE of thesis 6.3: its training step, plain and with FPI_GD, and what inverting its decoder costs.

Compares: an epoch by the Trainer with a bare PyTorch loop; a step with FPI_GD with the plain step and as many gradients
of the decoder's energy as its solves take; loading a batch with a step; bfloat16 and torch.compile with float32; and
the evaluations that each solver needs to invert a trained VAE's decoder and a multi-layer perceptron as well as plain
descent does. The record also has the loss of every precision and the inverse's error beside the encoder's.

    python scripts/bench/vae.py --json results/published/bench/vae.json [--paper-size]
"""

from __future__ import annotations

import argparse
import logging
import time
from functools import partial
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from common import Row, interleaved, write
from torch import Tensor, nn

import fpi
from tasks.engine.memory import keep_freed_memory
from tasks.vae.data import GeneratedFaces, as_float
from tasks.vae.inversion import Inversion
from tasks.vae.module import ImageGeneration
from tasks.vae.networks import VAE, decode

SMALL: dict[str, Any] = {"hidden": (16, 32, 64), "latent": 32, "size": 32, "batch": 64}
PAPER: dict[str, Any] = {"hidden": (32, 64, 128, 256, 512), "latent": 128, "size": 64, "batch": 144}
KL, STEPS, ITERATIONS = 8.8468e-4, 24, 30
LADDER = (4, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150, 200, 300)  # evaluations tried
PLAIN_STEPS, STEP_SIZES = 300, (5.0, 15.0, 50.0)  # of descent, which gets the best of these γ


class Bench:
    """Networks and batches of one size, on the GPU if there is one."""

    def __init__(self, hidden: tuple[int, ...], latent: int, size: int, batch: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.sizes = (hidden, latent, size)
        self.data = GeneratedFaces(
            n_train=STEPS * batch, n_more=200, size=size, batch_size=batch, n_eval=2, n_test=24, flip=True
        )
        self.data.setup()
        self.batch = next(iter(self.data.train_dataloader())).to(self.device)

    def vae(self) -> VAE:
        torch.manual_seed(0)
        return VAE(*self.sizes).to(self.device)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def bare_epoch(self, vae: VAE) -> None:
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)
        for batch in self.data.train_dataloader():
            loss = plain_loss(vae, as_float(batch.to(self.device)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.wait()

    def trained_epoch(self, vae: VAE) -> None:
        module = ImageGeneration(vae, partial(torch.optim.Adam, lr=1e-3, fused=True), KL)
        trainer = L.Trainer(
            max_epochs=1, devices=1, accelerator=self.device.type, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(module, self.data)
        self.wait()


def plain_loss(vae: VAE, images: Tensor, inversion: Inversion | None = None) -> Tensor:
    x0, log_variance = vae.encoder(images)
    mean = x0 if inversion is None else inversion(vae.decoder, images, x0)
    z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
    return F.mse_loss(vae.decoder(z), images) + KL * divergence


def training_rows(bench: Bench, repeats: int) -> list[Row]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    vae, images = bench.vae(), as_float(bench.batch)
    epoch = {"bare loop": lambda: bench.bare_epoch(vae), "Trainer": lambda: bench.trained_epoch(vae)}
    rows = [
        Row(
            f"epoch of {STEPS} plain steps, the Trainer's set-up included",
            interleaved(epoch, repeats),
            "Trainer",
            "bare loop",
        )
    ]

    exact = {"max_iter": ITERATIONS, "on_failure": "ignore"}
    solver, backward = (
        fpi.Picard(criterion=fpi.Absolute(0.0), **exact),
        fpi.Picard(criterion=fpi.Relative(0.0), **exact),
    )
    inversion = Inversion(solver, fpi.BackwardFPI(backward), step_size=10.0)
    z = torch.randn(len(images), bench.sizes[1], device=bench.device)
    layers = [tuple(t.detach() for t in layer) for layer in vae.decoder.layers("running")]

    def gradients(through: Any) -> None:
        for _ in range(2 * ITERATIONS):
            x = z.clone().requires_grad_()
            torch.autograd.grad((through(x) - images).square().mean((1, 2, 3)).sum(), x)
        bench.wait()

    def step(with_inversion: bool) -> None:
        plain_loss(vae, images, inversion if with_inversion else None).backward()
        bench.wait()

    def budget() -> None:
        step(False)
        gradients(lambda x: decode(x, layers))

    fixed = vae.decoder.eval().requires_grad_(False)
    values = interleaved({"gradients, normalisation folded": lambda: gradients(lambda x: decode(x, layers)),
                          "gradients of the module": lambda: gradients(fixed)}, repeats)  # fmt: skip
    rows.append(Row(f"{2 * ITERATIONS} gradients of the decoder's energy", values, *values))
    vae.decoder.train().requires_grad_(True)
    values = interleaved({"plain step and 60 gradients": budget, "step with FPI_GD": lambda: step(True)}, repeats)
    name = f"training step, {ITERATIONS} iterations each way"
    rows.append(Row(name, values, "step with FPI_GD", "plain step and 60 gradients"))

    def load() -> None:
        for _ in zip(range(STEPS), bench.data.train_dataloader(), strict=False):
            pass

    values = {"loading": interleaved({"": load}, repeats)[""], "bare loop": rows[0].values["bare loop"]}
    return [*rows, Row(f"{STEPS} batches loaded and not trained on", values, "loading", "bare loop")]


def precision_rows(bench: Bench, repeats: int) -> tuple[list[Row], dict[str, float]]:
    """A plain step in float32, in bfloat16 autocast and compiled, and the loss of each at the same weights."""
    images = as_float(bench.batch)
    losses: dict[str, float] = {}

    def contestant(name: str, compiled: bool, low: bool) -> Any:
        vae = bench.vae()
        if compiled:
            vae.encoder.compile()
            vae.decoder.compile()

        def run() -> None:
            torch.manual_seed(1)
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=low):
                loss = plain_loss(vae, images)
            loss.backward()
            losses[name] = losses.get(name, loss.item())
            bench.wait()

        return run

    options = {"float32": (False, False), "bfloat16": (False, True), "compiled": (True, False)}
    values = interleaved({name: contestant(name, *choice) for name, choice in options.items()}, repeats)
    return [Row("plain step", values, other, "float32") for other in ("bfloat16", "compiled")], losses


def perceptron() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 256))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    truth = torch.randn(64, 16)
    with torch.no_grad():
        return net, net(truth), truth + 0.5 * torch.randn_like(truth)


def trained_vae(bench: Bench, epochs: int = 6) -> tuple[nn.Module, Tensor, Tensor]:
    vae = bench.vae()
    for _ in range(epochs):
        bench.bare_epoch(vae)
    images = as_float(torch.cat(list(bench.data.val_dataloader()))).to(bench.device)
    vae.eval()
    with torch.no_grad():
        return vae.decoder, images, vae.encoder(images)[0]


def solver_rows(name: str, problem: tuple[nn.Module, Tensor, Tensor]) -> tuple[list[Row], dict[str, Any]]:
    """Evaluations until the error of `PLAIN_STEPS` steps of descent is reached, with the γ that is best for it."""
    decoder, y, x0 = problem
    decoder.requires_grad_(False)

    def error(x: Tensor) -> float:
        with torch.no_grad():
            return float((decoder(x) - y).square().mean().nan_to_num(torch.inf))

    def inverse(kind: type[fpi.Solver], steps: int, step_size: float) -> Tensor:
        solver = kind(criterion=fpi.Absolute(0.0), max_iter=steps, on_failure="ignore", compact=False)
        with torch.no_grad():
            return fpi.invert(decoder, y, x0, solver=solver, step_size=step_size)

    step_size = min(STEP_SIZES, key=lambda size: error(inverse(fpi.Picard, PLAIN_STEPS, size)))
    target = error(inverse(fpi.Picard, PLAIN_STEPS, step_size))
    needed: dict[str, float] = {"Picard": PLAIN_STEPS}
    for kind in (fpi.Anderson, fpi.LBFGS):
        reached = (steps for steps in LADDER if error(inverse(kind, steps, step_size)) <= target)
        needed[kind.__name__] = next(reached, float("inf"))
    after_30 = {kind.__name__: error(inverse(kind, 30, step_size)) for kind in (fpi.Picard, fpi.Anderson, fpi.LBFGS)}
    begin = time.perf_counter()
    inverse(fpi.LBFGS, 30, step_size)
    record = {
        "step_size": step_size,
        "error_of_start": error(x0),
        "error_after_descent": target,
        "error_after_30": after_30,
        "seconds_an_image_lbfgs_30": (time.perf_counter() - begin) / len(y),
    }
    title = f"inverting {name}: evaluations to the error of {PLAIN_STEPS} steps of descent, γ = {step_size:g}"
    return [Row(title, needed, other, "Picard") for other in ("Anderson", "LBFGS")], record


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--paper-size", action="store_true", help="the thesis' network and batch (default with a GPU)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    started = time.perf_counter()
    bench = Bench(**(PAPER if options.paper_size or torch.cuda.is_available() else SMALL))
    rows = training_rows(bench, options.repeats)
    more, losses = precision_rows(bench, options.repeats)
    rows += more
    record: dict[str, Any] = {"sizes": str(bench.sizes), "loss": losses, "inverse": {}}
    for name, problem in (("a VAE's decoder", trained_vae(bench)), ("a perceptron", perceptron())):
        found, record["inverse"][name] = solver_rows(name, problem)
        rows += found
    write("vae", rows, options.json, options.threads, time.perf_counter() - started, record)


if __name__ == "__main__":
    main()
