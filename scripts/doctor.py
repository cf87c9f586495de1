"""Check this machine and say what can run on it: python scripts/doctor.py [results_dir=results]."""

from tasks.engine.cli import exit_with
from tasks.engine.doctor import main

if __name__ == "__main__":
    exit_with(main)
