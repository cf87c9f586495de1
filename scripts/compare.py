"""Compare runs side by side: python scripts/compare.py RUN RUN ... [to=results/compare.html]."""

from tasks.engine.cli import exit_with
from tasks.engine.compare import main

if __name__ == "__main__":
    exit_with(main)
