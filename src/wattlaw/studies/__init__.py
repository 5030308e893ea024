"""A paper's question as one file: sweep, laws, figures, what was published."""
