"""Reads the presets and options of a user's ``package.module:Class`` without importing it."""

from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import SettingError, nearest

_BASE_CLASS = "Workload"
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


class ClassFacts(msgspec.Struct, frozen=True):
    """The presets and options that a class declares; None if only running its code would tell."""

    presets: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None


def inspect_class(name: str) -> ClassFacts:
    """Return the facts that the file of ``package.module:Class`` declares.

    Raises SettingError if there is no such class.
    """
    module, _, attribute = name.partition(":")
    if module.endswith(".py"):
        example = f"{_dotted(module[:-3])}:{attribute or 'Mine'}"
        raise SettingError(f"{name}: leave out the .py, as in {example}")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        example = f"{_dotted(module) or 'my_file'}:Mine"
        raise SettingError(f"{name!r} is not of the form package.module:Class, such as {example}")
    path = _find_file(name, module)
    if path is None or path.suffix != ".py":
        return ClassFacts()
    tree = _parse(name, path)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    bound = _bound_names(tree)
    if bound is not None and attribute not in bound:
        hint = nearest(attribute, classes)
        raise SettingError(f"{name}: {path.name} has no {attribute}; {hint}")
    return _facts(classes, attribute)


def _parse(name: str, path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        message = f"{name}: {path}{line} is not valid Python: {error.msg}"
        raise SettingError(message) from None
    except ValueError as error:
        raise SettingError(f"{name}: {path} is not valid Python: {error}") from None
    except OSError as error:
        raise SettingError(f"{name}: {path} cannot be read: {error.strerror}") from None


def file_of(name: str) -> Path | None:
    """Return the source file of ``package.module:Class``; None for a package without one.

    Raises SettingError if there is no such module.
    """
    return _find_file(name, name.partition(":")[0])


def _dotted(path: str) -> str:
    return ".".join(part for part in path.split("/") if part not in ("", ".", ".."))


def _find_file(name: str, module: str) -> Path | None:
    """Return a module's file; None for a package without one.

    Raises SettingError if there is no such module.
    """
    variable = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = [*filter(None, variable), *sys.path, os.getcwd()]
    origin = None
    parts = module.split(".")
    for index, part in enumerate(parts):
        full_name = ".".join(parts[: index + 1])
        spec = importlib.machinery.PathFinder.find_spec(full_name, places)
        if spec is None:
            raise SettingError(f"{name}: there is no module {full_name}; {_hint(part, places)}")
        origin, places = spec.origin, list(spec.submodule_search_locations or [])
    return Path(origin) if origin else None


def _hint(module: str, places: Iterable[str]) -> str:
    hint = nearest(module, sorted(_user_modules(places)))
    question = "is its folder the current one, or on PYTHONPATH?"
    if hint.startswith("did you mean"):
        return f"{hint} {question}"
    return question


def _user_modules(places: Iterable[str]) -> set[str]:
    """Return the modules in the user's folders; a typing error rarely means an installed one."""
    names: set[str] = set()
    for place in map(Path, places):
        is_installed = "-packages" in str(place) or place.is_relative_to(sys.base_prefix)
        if not is_installed and place.is_dir():
            names |= {file.stem for file in place.glob("*.py") if file.stem.isidentifier()}
    return names


def _bound_names(tree: ast.Module) -> set[str] | None:
    """Return the names that a module binds; None if only running its code would tell."""
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
        if not isinstance(child, ast.ClassDef | _FUNCTION | ast.Lambda):
            yield from _outside_functions(child)


def _facts(classes: dict[str, ast.ClassDef], name: str) -> ClassFacts:
    chain = _base_chain(classes, name)
    if chain is None:
        return ClassFacts()
    presets = _class_attribute(chain, "presets", ["base"])
    options = _class_attribute(chain, "options", {})
    return ClassFacts(
        tuple(presets) if isinstance(presets, list | tuple) else None,
        tuple(options) if isinstance(options, dict) else None,
    )


def _base_chain(classes: dict[str, ast.ClassDef], name: str) -> list[ast.ClassDef] | None:
    """Return a class and its bases up to Workload.

    None if one is in another file, or decides its attributes when it runs.
    """
    chain: list[ast.ClassDef] = []
    while name != _BASE_CLASS:
        node = classes.get(name)
        if node is None or node in chain or not _is_plain(node):
            return None
        chain.append(node)
        name = _name_of(node.bases[0])
    return chain


def _is_plain(node: ast.ClassDef) -> bool:
    has_init = any(isinstance(n, ast.FunctionDef) and n.name == "__init__" for n in node.body)
    return len(node.bases) == 1 and not (node.decorator_list or node.keywords or has_init)


def _name_of(base: ast.expr) -> str:
    match base:
        case ast.Name():
            return base.id
        case ast.Attribute():
            return base.attr
    return ""


def _class_attribute(chain: Sequence[ast.ClassDef], name: str, default: object) -> object:
    """Return the literal that a class assigns to ``name``; None if it is not a literal."""
    for node in chain:
        for statement in node.body:
            if name in _assigned_names(statement):
                return _literal(getattr(statement, "value", None))
    return default


def _assigned_names(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def _literal(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError):
        return None
