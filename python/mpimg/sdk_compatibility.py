"""Checks whether the installed Integration SDK uses Docker in a way that `mpimg.docker_shim` supports.

Reads the SDK's sources, runs none of them, and compares two things with `sdk_compatibility.json`, the table of the SDK's releases:

- the functions of `docker_wrapper` that mpimg replaces: signature, and a digest of the body's syntax tree (no comments, no
  docstrings, no types, the same for every version of Python);
- what all other functions ask of Docker: which methods of which object, with which arguments.

Sources that are, byte for byte, those of a release need no reading (50 ms): `sources` in its row is their digest.

Refuses to guess: what is not in the table is an error that names the SDK's version and the function.

`python -m mpimg.sdk_compatibility` prints the row of the installed SDK, for the table.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from typing import Any, Dict, Iterator, List, Set, Tuple, Union, cast

SDK = "vmware_aria_operations_integration_sdk"
DISTRIBUTION = "vmware-aria-operations-integration-sdk"

#: Functions of `docker_wrapper` that mpimg replaces, or whose rules it has built in (those of the build context).
REPLACED = (
    "_dir_is_venv",
    "_docker_context_inclusion_func",
    "_get_docker_context",
    "_is_hidden",
    "build_image",
    "init",
    "login",
    "push_image",
)

#: What the SDK's sources call the objects of Docker.
_ROOTS = {"client", "container", "docker", "docker_client", "image", "subprocess"}

#: How one release uses Docker: `replaced` (function to signature and body), `uses` (function to calls), and `sources`.
Row = Dict[str, Any]

#: Modules that may have to do with Docker, by name.
_Sources = Dict[str, bytes]

_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class CompatibilityError(Exception):
    """The SDK is missing, or uses Docker in a way that is not understood; `hint` is the remedy."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def installed_version() -> str:
    """The version of the SDK in this Python."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise CompatibilityError(
            "this Python has no Integration SDK", f"install it beside mpimg: pip install {DISTRIBUTION}"
        ) from None


def installed_folder() -> str:
    """Where the SDK's sources are."""
    spec = importlib.util.find_spec(SDK)
    if spec is None or not spec.submodule_search_locations:
        raise CompatibilityError(
            f"the Integration SDK's package `{SDK}` cannot be found", f"install it again: pip install --force-reinstall {DISTRIBUTION}"
        )
    return spec.submodule_search_locations[0]


def known_releases() -> Dict[str, Row]:
    """The table: SDK version to row."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk_compatibility.json"), encoding="utf-8") as file:
        return cast(Dict[str, Row], json.load(file))


def check_compatibility(folder: str, version: str) -> Row:
    """Compares the SDK in `folder` with the table; its row.

    A release that is not in the table passes if every piece of it is known from one that is.
    """
    sources = _sources(folder)
    table = known_releases()
    known = table.get(version)
    if known is not None and known["sources"] == _sources_digest(sources):
        return known
    row = _describe(sources)
    rows = list(table.values())

    def refuse(function: str, what: str) -> CompatibilityError:
        return CompatibilityError(
            f"Integration SDK {version} uses Docker in a way that this mpimg does not know: `{function}` {what}",
            f"update mpimg, or use an SDK that it knows: pip install {DISTRIBUTION}=={max(table, key=_numbers)}",
        )

    for name in REPLACED:
        found = row["replaced"].get(name)
        if found is None:
            raise refuse(f"docker_wrapper.{name}", "is missing")
        if all(found != other["replaced"].get(name) for other in rows):
            reference = (known or table[max(table, key=_numbers)])["replaced"][name]
            if found["signature"] != reference["signature"]:
                what = f"is called {found['signature']}, not {reference['signature']}"
            else:
                what = "does something else than it did"
            raise refuse(f"docker_wrapper.{name}", what)
    uses = {use for other in rows for found in other["uses"].values() for use in found}
    for function, found in row["uses"].items():
        for use in found:
            if use not in uses:
                raise refuse(function, f"uses `{use}`")
    return row


def describe_release(folder: str) -> Row:
    """The row of the SDK whose sources are in `folder`."""
    return _describe(_sources(folder))


def _describe(sources: _Sources) -> Row:
    replaced: Dict[str, Dict[str, str]] = {}
    uses: Dict[str, List[str]] = {}
    for module, source in sources.items():
        tree = ast.parse(source, module)
        names = set(REPLACED) if module == "docker_wrapper" else _docker_names(tree)
        if not names:
            continue
        for name, function in _functions(tree):
            if module == "docker_wrapper" and name in REPLACED:
                replaced[name] = {"signature": _signature(function), "body": _digest(function)}
                continue
            found = _uses(function, names)
            if found:
                uses[f"{module}.{name}"] = sorted(found)
        if module != "docker_wrapper":
            uses[module] = sorted(f"import {name}" for name in names)
    return {"replaced": replaced, "sources": _sources_digest(sources), "uses": uses}


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _sources(folder: str) -> _Sources:
    """The modules that can take something from `docker_wrapper`, and itself: all that name it."""
    found: _Sources = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb") as file:
                source = file.read()
            if name == "docker_wrapper.py" or b"docker_wrapper" in source:
                found[name[:-3]] = source
    return found


def _sources_digest(sources: _Sources) -> str:
    digest = hashlib.sha256()
    for module, source in sources.items():
        digest.update(f"{module} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _docker_names(tree: ast.Module) -> Set[str]:
    """What a module takes from `docker_wrapper` by name."""
    names: Set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.rpartition(".")[2] == "docker_wrapper":
            names.update(alias.name for alias in node.names)
    return names


def _functions(tree: ast.Module) -> Iterator[Tuple[str, _Function]]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield f"{node.name}.{inner.name}", inner


def _signature(function: _Function) -> str:
    """Parameters with their defaults, without types."""
    arguments = function.args
    parts = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    for index, default in enumerate(reversed(arguments.defaults), 1):
        parts[-index] += f"={ast.unparse(default)}"
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    parts += [argument.arg for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        parts.append(f"**{arguments.kwarg.arg}")
    return f"({', '.join(parts)})"


def _uses(function: _Function, names: Set[str]) -> Set[str]:
    """Calls of Docker's objects and of `docker_wrapper`'s functions, with the names of their arguments."""
    found: Set[str] = set()
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        chain = _chain(node.func)
        root = chain.split(".")[0] if chain else ""
        if root in _ROOTS and "." in chain or chain in names:
            arguments = ["_"] * len(node.args) + sorted(keyword.arg or "**" for keyword in node.keywords)
            found.add(f"{chain}({', '.join(arguments)})")
    return found


def _chain(node: ast.AST) -> str:
    """`a.b.c` of an expression of that form, without a leading `self.`; else nothing."""
    parts: List[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    if node.id != "self" or not parts:
        parts.append(node.id)
    return ".".join(reversed(parts))


def _digest(function: _Function) -> str:
    return hashlib.sha256("".join(_tokens(function.body)).encode()).hexdigest()[:16]


def _tokens(node: object) -> Iterator[str]:
    """A syntax tree as text that depends on neither Python's version nor comments, docstrings or types."""
    if isinstance(node, list):
        for inner in node:
            # A text that stands alone is a docstring, or does nothing.
            if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant) and isinstance(inner.value.value, str)):
                yield from _tokens(inner)
    elif isinstance(node, ast.Constant):
        yield repr(node.value)
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if value is not None and value != [] and name not in ("annotation", "ctx", "kind", "returns", "type_comment", "type_params"):
                yield f" {name}="
                yield from _tokens(value)
        yield ")"
    else:
        yield repr(node)


if __name__ == "__main__":
    print(json.dumps({installed_version(): describe_release(installed_folder())}, indent=1, sort_keys=True))
