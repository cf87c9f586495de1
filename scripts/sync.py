"""Upload offline W&B runs in start order: python scripts/sync.py [--dry-run] [results_dir=results]."""

from tasks.engine.cli import exit_with
from tasks.engine.sync import main

if __name__ == "__main__":
    exit_with(main)
