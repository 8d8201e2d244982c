"""Which of our files a step depends on, and a digest of them.

Snakemake re-runs a rule when its script changes, but does not look into what the script imports. So the files
of `slimline` that a script can reach are found here from the source alone, without importing anything, and their
digest goes into the rule's params: a change re-runs exactly the steps that use the changed file.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).parent
PACKAGE = LIBRARY.name
# What is named in a string is a dependency as well: an entry point ("slimline.training.job:run"), or the module of a
# process of its own ("slimline.evaluation.proof_worker").
NAMED = re.compile(rf"^({PACKAGE}(?:\.\w+)+)(?::\w+)?$")


def code_hash(source: Path) -> str:
    """Digest (16 hexadecimal digits) of a Python file and of every library file it can reach."""
    digest = hashlib.sha256()
    for file in sorted(reachable_files(source.resolve())):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def entry_point_hash(entry: str) -> str:
    """As `code_hash`, for the module of an entry point `module:function`."""
    file = _module_file(entry.partition(":")[0])
    assert file is not None, entry
    return code_hash(file)


def reachable_files(source: Path) -> set[Path]:
    """`source` and every library file that its imports, and theirs, can reach."""
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting.extend(_imported_files(file))
            found.update(_data_files(file.parent))
    return found


@cache
def _imported_files(file: Path) -> tuple[Path, ...]:
    tree = ast.parse(file.read_bytes(), filename=str(file))
    files = (_module_file(module) for module in _imported_modules(tree))
    return tuple({file for file in files if file is not None})


def _imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # What is imported from a package may be a module of it.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (named := NAMED.match(node.value)):
            yield named[1]


@cache
def _data_files(folder: Path) -> tuple[Path, ...]:
    """Templates and the like that lie with the modules of a room."""
    if folder == LIBRARY or LIBRARY not in folder.parents:
        return ()
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return tuple(path for path in files if path.suffix != ".py")


@cache
def _module_file(module: str) -> Path | None:
    """The file of a module of ours; None for other modules and for names that are not modules.

    A package's `__init__.py` holds no code that other modules rely on, but for the library's own.
    """
    package, *parts = module.split(".")
    if package != PACKAGE:
        return None
    path = LIBRARY.joinpath(*parts)
    file = path.with_suffix(".py") if parts else path / "__init__.py"
    return file if file.is_file() else None
