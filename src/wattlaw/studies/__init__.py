"""Floor 7: a paper's question as one file: sweep, laws, figures, what was published."""
