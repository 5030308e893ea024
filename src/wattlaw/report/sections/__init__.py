"""One file a section of the report.

A file declares ``NAMES = {"name": "function"}``; the function takes a ``Context`` and returns a ``Section``,
or None where it has nothing to say. ``Section.missing`` says why something that a reader would expect is not there.
"""
