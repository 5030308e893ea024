"""The look of all figures: small parts of charts, colours, files for a paper."""
