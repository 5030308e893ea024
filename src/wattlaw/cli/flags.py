"""Which options the user gave, and an error for those that a mode of the command would ignore."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.core import ParameterSource

from wattlaw.core.errors import UsageError


def given_options() -> dict[str, str]:
    """Return the options that the user gave to the current command: parameter name → flag."""
    context = click.get_current_context()
    found: dict[str, str] = {}
    for parameter in context.command.params:
        name = parameter.name
        if not isinstance(parameter, click.Option) or name is None:
            continue
        source = context.get_parameter_source(name)
        if source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            found[name] = max(parameter.opts, key=len)
    return found


def refuse_others(mode: str, *names: str) -> None:
    """Raise UsageError if an option was given that ``mode`` does not use.

    ``mode`` is a flag such as "--pareto" or words such as "a single trial"; ``names`` are parameter
    names.
    """
    given = given_options()
    others = [name for name in given if name not in names]
    flags = {parameter.name: parameter for parameter in click.get_current_context().command.params}
    usable = [max(flags[name].opts, key=len) for name in names if name in flags]
    valid = [flag for flag in usable if flag != mode]
    refuse(others, f"with {mode}; it goes with {_listed(valid)}")


def refuse(names: Sequence[str], because: str) -> None:
    """Raise UsageError if one of some options was given: "--pue has no effect <because>"."""
    given = given_options()
    flags = [given[name] for name in names if name in given]
    if flags:
        verb = "has" if len(flags) == 1 else "have"
        raise UsageError(f"{_listed(flags)} {verb} no effect {because}")


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else "nothing"]))
