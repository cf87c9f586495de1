"""What every task shares: one job, its results store, tracking, statistics and verdicts, figures and the report."""
