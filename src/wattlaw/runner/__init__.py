"""Runs trials and sweeps.

A trial has three parts: ``prepare`` (wherever it is submitted), ``carry_out`` (on the node) and
``record_trial``. ``watch_ranks`` says what happens when a rank dies, ``resume`` from where a trial
resumes. ``sweeps`` is the Python API, ``worker`` the process of one rank, ``command`` a
user's own program.
"""
