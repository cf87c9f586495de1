"""Build the report of a task, or of all: python scripts/report.py TASK|all [profile=paper] [publish=true]."""

from tasks.engine.cli import exit_with
from tasks.engine.report_cli import main

if __name__ == "__main__":
    exit_with(main)
