"""Which tree-sitter grammar and query belong to a language. Grammars are loaded when a language is first met.

Every grammar is a wheel of its own that holds its parser: nothing is ever fetched at run time. A language without a
row here is read by lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Parser, Query

_QUERIES = Path(__file__).parent / "queries"


@dataclass(frozen=True, slots=True)
class _Row:
    package: str
    query: str
    function: str = "language"


_ROWS: Mapping[str, _Row] = MappingProxyType(
    {
        "python": _Row("tree_sitter_python", "python"),
        "javascript": _Row("tree_sitter_javascript", "javascript"),
        "typescript": _Row("tree_sitter_typescript", "typescript", "language_typescript"),
        "typescriptreact": _Row("tree_sitter_typescript", "typescript", "language_tsx"),
        "go": _Row("tree_sitter_go", "go"),
        "rust": _Row("tree_sitter_rust", "rust"),
        "java": _Row("tree_sitter_java", "java"),
        "c": _Row("tree_sitter_c", "c"),
        "cpp": _Row("tree_sitter_cpp", "cpp"),
        "csharp": _Row("tree_sitter_c_sharp", "csharp"),
        "ruby": _Row("tree_sitter_ruby", "ruby"),
        "php": _Row("tree_sitter_php", "php", "language_php"),
        "shellscript": _Row("tree_sitter_bash", "bash"),
        "lua": _Row("tree_sitter_lua", "lua"),
        "sql": _Row("tree_sitter_sql", "sql"),
        "html": _Row("tree_sitter_html", "html"),
        "css": _Row("tree_sitter_css", "css"),
    }
)

LANGUAGES = frozenset(_ROWS)
"""Languages whose definitions are known, beyond lines of text."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """A parser and what to look for. Not for two threads at once."""

    parser: Parser
    query: Query


@cache
def grammar(language_id: str) -> Grammar | None:
    """The grammar of a language; None for one that is read by lines."""
    row = _ROWS.get(language_id)
    if row is None:
        return None
    from tree_sitter import Language, Parser, Query

    language = Language(getattr(import_module(row.package), row.function)())
    return Grammar(Parser(language), Query(language, (_QUERIES / f"{row.query}.scm").read_text(encoding="utf-8")))
