"""The W&B workspace and report of all tasks: which panels and tables, printed without network or built for a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.engine import console, page, profiles, report_markdown, store, tracking
from tasks.engine.cli import Script, as_bool
from tasks.engine.errors import ConfigError
from tasks.engine.page.content import Source
from tasks.engine.paper import Item

SCRIPT = Script(
    "dashboard.py",
    "Create the W&B workspace and report of all tasks.",
    {
        "entity": ("", "user or team in W&B; without it: your default one"),
        "project": ("fpi", "project in W&B"),
        "profile": ("paper", "whose runs and tables"),
        "results_dir": ("results", "where the reports are, relative to the repository"),
        "dry_run": ("false", "print what would be created, without network"),
    },
)
DESCRIPTION = (
    "The papers' numbers beside ours, curves by row (mean and spread of the seeds), and the solvers' residuals."
)
SOLVER = (  # what every row with a fixed-point layer logs: (title, metrics, logarithmic)
    ("Iterations of both layers", ("solver/forward_iterations", "solver/backward_iterations"), False),
    ("Residuals of both layers", ("solver/forward_residual", "solver/backward_residual"), True),
    ("Converged samples", ("solver/forward_converged", "solver/backward_converged"), False),
)


@dataclass(frozen=True)
class Panel:
    """Curves by epoch, the mean over the seeds of each row."""

    title: str
    metrics: tuple[str, ...]
    logarithmic: bool = False


@dataclass(frozen=True)
class Section:
    """One task: its panels, and its tables beside the paper's and claims as Markdown."""

    task: str
    panels: tuple[Panel, ...]
    tables: str


def main(arguments: Sequence[str]) -> int:
    """Create the workspace and the report in W&B, or print what would be created (`--dry-run`: no network)."""
    given = SCRIPT.defaults | SCRIPT.parse(arguments)[1]
    profile = profiles.check(given["profile"])
    sections = plan(store.results_root(given["results_dir"]), profile)
    if as_bool("dry_run", given["dry_run"]):
        show(sections, given["entity"] or "(your default entity)", given["project"], profile)
        return 0
    if not tracking.logged_in():
        raise ConfigError(
            "creating a dashboard needs a W&B login: run `wandb login` or set WANDB_API_KEY (or --dry-run)."
        )
    for kind, view in zip(
        ("workspace", "report"), build(sections, given["entity"], given["project"], profile), strict=True
    ):
        view.save()
        console.say(f"{kind}: {view.url}")
    return 0


def plan(results: Path, profile: str) -> list[Section]:
    """A section a task that has a summary at this profile, or else a published one of it. Raises ConfigError."""
    here = {source.task: source for source in page.sources(results / profile, jobs=False)}
    published = page.sources(store.ROOT / "results" / "published", jobs=False)
    sources = {s.task: s for s in published if s.summary["profile"] == profile} | here
    if not sources:
        raise ConfigError(f"no report at profile={profile}: run `make report PROFILE={profile}` first.")
    return [_section(source) for _, source in sorted(sources.items())]


def show(sections: list[Section], entity: str, project: str, profile: str) -> None:
    console.say(f"W&B {entity}/{project}: workspace and report 'fpi: {profile}', runs grouped by row", style="bold")
    for section in sections:
        console.say(f"section {section.task}: runs of the group '{section.task}' tagged '{profile}'")
        for panel in section.panels:
            scale = ", logarithmic" if panel.logarithmic else ""
            console.say(f"  panel   {panel.title}: {', '.join(panel.metrics)} by epoch{scale}")
        lines = section.tables.splitlines()
        for i, title in enumerate(lines):
            if title.startswith("### "):
                console.say(f"  table   {title[4:]}: {_rows(lines[i + 1 :])} rows")


def build(sections: list[Section], entity: str, project: str, profile: str) -> tuple[Any, Any]:
    """(workspace, report) of wandb-workspaces, not saved yet. Raises ConfigError if it is not installed."""
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise ConfigError("the dashboard needs wandb-workspaces: pip install 'fpi[dashboard]'.") from error
    if not entity:
        import wandb

        entity = wandb.Api().default_entity or ""

    def lines(panel: Panel) -> Any:
        return wr.LinePlot(
            title=panel.title,
            x="epoch",
            y=list(panel.metrics),
            log_y=panel.logarithmic,
            groupby="JobType",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )

    name = f"fpi: {profile}"
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name=section.task, panels=[lines(panel) for panel in section.panels], is_open=True)
            for section in sections
        ],
        runset_settings=ws.RunsetSettings(filters=f"Config('profile') = '{profile}'", groupby=[ws.Metric("JobType")]),
    )
    blocks: list[Any] = [wr.TableOfContents()]
    for section in sections:
        chosen = f"Group = '{section.task}' and Config('profile') = '{profile}'"
        runs = wr.Runset(entity=entity, project=project, name=section.task, filters=chosen, groupby=["JobType"])
        grid = wr.PanelGrid(runsets=[runs], panels=[lines(panel) for panel in section.panels])
        blocks += [wr.H1(section.task), wr.MarkdownBlock(section.tables), grid]
    report = wr.Report(entity=entity, project=project, title=name, description=DESCRIPTION, blocks=blocks)
    return workspace, report


def _section(source: Source) -> Section:
    tables = report_markdown.section(source.task, source.summary | {"figures": []}, [], source.items, "")
    return Section(source.task, (*_metric_panels(source.items), *(Panel(*one) for one in SOLVER)), tables)


def _metric_panels(items: Sequence[Item]) -> list[Panel]:
    """One panel a compared metric, on validation and test data as far as they are logged by epoch, and the loss."""
    names = dict.fromkeys(item.metric.rpartition("/")[2] for item in items)
    panels = [Panel(name, (f"val/{name}", f"test/{name}")) for name in names if name != "loss"]
    return [*panels, Panel("Loss", ("train/loss", "val/loss", "test/loss"), logarithmic=True)]


def _rows(lines: Sequence[str]) -> int:
    """The lines of the first Markdown table, without its head."""
    start = next((i for i, line in enumerate(lines) if line.startswith("|")), len(lines))
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return max(0, end - start - 2)
