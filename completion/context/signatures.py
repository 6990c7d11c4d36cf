"""Python's definitions as its own parser reads them: what a function takes, and what a class is called with."""

from __future__ import annotations

import ast
import textwrap
from functools import lru_cache


@lru_cache(maxsize=512)
def parse(text: str) -> ast.stmt | None:
    """The one statement of a text; None for what Python cannot read."""
    try:
        body = ast.parse(textwrap.dedent(text)).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    return body[0] if len(body) == 1 else None


def made_by(node: ast.ClassDef) -> ast.arguments | None:
    """The parameters with which a class without bases is called."""
    if node.bases or node.keywords or not decorated_by(node, frozenset()):
        return None
    inits = [one for one in ast.walk(node) if isinstance(one, ast.FunctionDef) and one.name in ("__init__", "__new__")]
    if len(inits) != 1 or inits[0] not in node.body or inits[0].decorator_list or inits[0].name == "__new__":
        return None
    arguments = inits[0].args
    if arguments.posonlyargs or not arguments.args:
        return None
    return ast.arguments(
        posonlyargs=[],
        args=arguments.args[1:],
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults,
    )


def decorated_by(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, harmless: frozenset[str]) -> bool:
    """Do only such decorators stand above it that change neither members nor parameters?"""
    return all(plain_name(one) in harmless for one in node.decorator_list)


def plain_name(node: ast.expr) -> str:
    """The last name of `a.b`, `a.b(…)` and `a.b[…]`; empty for anything else."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
