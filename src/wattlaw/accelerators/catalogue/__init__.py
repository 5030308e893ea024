"""The catalogue: its entries, the readers and rules of its tables, the surveys, peaks, and what runs achieve."""
