"""One file for each section of the report.

A file declares ``NAMES = {"name": "function"}``. The function takes a ``Context`` and returns a
``Section``, or None if it has nothing to show. ``Section.missing`` says why a part is absent
that a reader would expect.
"""
