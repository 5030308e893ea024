"""The process of one rank of a trial."""
