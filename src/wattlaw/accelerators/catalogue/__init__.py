"""The catalogue: entries, table reader and rules, surveys, peaks, and what runs achieve."""
