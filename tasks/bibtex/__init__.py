"""Multi-label classification of Bibtex: table 5.1 of the thesis (section 5.2)."""
