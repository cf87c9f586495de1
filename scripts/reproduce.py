"""Reproduce a task's tables and figures: python scripts/reproduce.py TASK [profile=smoke|sample|paper] [overrides]."""

from tasks.engine.cli import exit_with
from tasks.engine.reproduce import main

if __name__ == "__main__":
    exit_with(main)
