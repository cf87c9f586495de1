"""The experiments: one package a task, and the engine they share."""
