"""The thesis' toy problems (5.1): learning optimisation problems from samples of their solutions."""
