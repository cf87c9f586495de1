"""Create the W&B workspace and report: python scripts/dashboard.py [--dry-run] [entity=NAME] [project=fpi]."""

from tasks.engine.cli import exit_with
from tasks.engine.dashboard import main

if __name__ == "__main__":
    exit_with(main)
