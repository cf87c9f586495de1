"""One network for each row of table 5.1; what a network must offer stands in tasks.bibtex.module."""
