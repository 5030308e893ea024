"""The words of wattlaw as types, with units, errors, the record of a run and plug-in lookup."""
