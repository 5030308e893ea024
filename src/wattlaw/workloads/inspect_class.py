"""Looks at a user's own workload, ``package.module:Class``, without importing it, as a rank would find it."""

from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from wattlaw.core.errors import SettingError, nearest

_ROOT = "Workload"


class Own(msgspec.Struct, frozen=True):
    """What a class says as plain values: its presets and options; None where only running it would tell."""

    presets: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None


def look(name: str) -> Own:
    """Return what the file of ``package.module:Class`` says. Raises SettingError where there is no such class."""
    module, _, attribute = name.partition(":")
    if module.endswith(".py"):
        raise SettingError(
            f"{name}: leave out the .py, as in {_dotted(module[:-3])}:{attribute or 'Mine'}"
        )
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise SettingError(
            f"{name!r} is no package.module:Class, such as {_dotted(module) or 'my_file'}:Mine"
        )
    path = _file(name, module)
    if path is None or path.suffix != ".py":
        return Own()
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise SettingError(
            f"{name}: {path}{line} is no Python: {getattr(error, 'msg', error)}"
        ) from None
    except OSError as error:
        raise SettingError(f"{name}: {path} cannot be read: {error.strerror}") from None
    bound = _bound(tree)
    if bound is not None and attribute not in bound:
        classes = [n.name for n in tree.body if isinstance(n, ast.ClassDef)]
        raise SettingError(f"{name}: {path.name} has no {attribute}; {nearest(attribute, classes)}")
    return _said({n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}, attribute)


def _dotted(path: str) -> str:
    return ".".join(part for part in path.split("/") if part not in ("", ".", ".."))


def _file(name: str, module: str) -> Path | None:
    """Return a module's file; None for a package without one. Raises SettingError where there is none."""
    places = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p] + [
        *sys.path,
        os.getcwd(),
    ]
    origin = None
    for end in range(len(parts := module.split("."))):
        full = ".".join(parts[: end + 1])
        spec = importlib.machinery.PathFinder.find_spec(full, places)
        if spec is None:
            raise SettingError(
                f"{name}: there is no module {full}; {_near(parts[end], places if end else [*places])}"
            )
        origin, places = spec.origin, list(spec.submodule_search_locations or [])
    return Path(origin) if origin else None


def _near(module: str, places: Iterable[str]) -> str:
    # a user's own folders only: the installed packages are no answer to a misspelt file
    own = [
        Path(p)
        for p in places
        if "-packages" not in p and not Path(p).is_relative_to(sys.base_prefix)
    ]
    files = {
        f.stem
        for place in own
        if place.is_dir()
        for f in place.glob("*.py")
        if f.stem.isidentifier()
    }
    where = "is its folder the one you are in, or on PYTHONPATH?"
    said = nearest(module, files)
    return f"{said} " + where if said.startswith("did you mean") else where


def _bound(tree: ast.Module) -> set[str] | None:
    """Return the names that a module binds; None where only running it would tell."""
    found: set[str] = set()
    for node in _outside_functions(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                found.add(node.name)
            case ast.Import() | ast.ImportFrom():
                found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case ast.Call(func=ast.Name(id="globals" | "setattr" | "exec" | "vars")):
                return None
    return None if found & {"*", "__getattr__"} else found


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(
            child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        ):
            yield from _outside_functions(child)


def _said(classes: dict[str, ast.ClassDef], name: str) -> Own:
    chain = _chain(classes, name)
    if chain is None:
        return Own()
    presets, options = _assigned(chain, "presets", ["base"]), _assigned(chain, "options", {})
    return Own(
        tuple(presets) if isinstance(presets, list | tuple) else None,
        tuple(options) if isinstance(options, dict) else None,
    )


def _chain(classes: dict[str, ast.ClassDef], name: str) -> list[ast.ClassDef] | None:
    """Return a class and its bases up to Workload; None where one lies elsewhere or decides at run time."""
    chain: list[ast.ClassDef] = []
    while name != _ROOT:
        node = classes.get(name)
        if (
            node is None
            or len(node.bases) != 1
            or node.decorator_list
            or node.keywords
            or node in chain
        ):
            return None
        if any(isinstance(n, ast.FunctionDef) and n.name == "__init__" for n in node.body):
            return None
        chain.append(node)
        base = node.bases[0]
        name = (
            base.id
            if isinstance(base, ast.Name)
            else base.attr
            if isinstance(base, ast.Attribute)
            else ""
        )
    return chain


def _assigned(chain: list[ast.ClassDef], name: str, default: object) -> object:
    for node in chain:
        for line in node.body:
            targets = (
                line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            )
            if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return _literal(getattr(line, "value", None))
    return default


def _literal(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError):
        return None
