"""Build a task's report: python scripts/report.py TASK [profile=paper] [publish=true] [results_dir=results]."""

from tasks.engine.cli import exit_with
from tasks.engine.report_cli import main

if __name__ == "__main__":
    exit_with(main)
