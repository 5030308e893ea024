"""Language: transformers on text and on molecules written as strings."""
