"""The calls that a refactoring consists of, as typed data: the one source of schemas, validation, docs and training.

An acting call changes the overlay of the workspace, a looking call answers a question about it. Nothing here knows how
a call is carried out. Wire names are the classes' tags; field docs are what the model reads.

Symbols are named as people name them: `parse`, `Parser.parse`, or with the file in front, `src/parser.py::Parser.parse`
(pytest's node-id form). Lines are 1-based and inclusive. Paths are relative to the root, with forward slashes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

SymbolName = Annotated[
    str,
    Meta(min_length=1, description="A symbol: name, Class.member, or path/to/file.py::Class.member."),
]
Identifier = Annotated[str, Meta(pattern=r"^[^\W\d]\w*$", description="A plain identifier.")]
FilePath = Annotated[str, Meta(min_length=1, description="A path relative to the root, with forward slashes.")]
LineNumber = Annotated[int, Meta(ge=1, description="A line number; the first line is 1.")]


class Call(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name", omit_defaults=True):
    """A call; its class is the tool, its fields are the arguments. Validated by `completion.refactor.schema.decode`."""


class Rename(Call, frozen=True, kw_only=True, tag="rename"):
    """Give a symbol another name wherever it is defined and used."""

    symbol: SymbolName
    new_name: Identifier


class Move(Call, frozen=True, kw_only=True, tag="move"):
    """Move a top-level symbol into another file, or a module to another path; imports follow."""

    source: Annotated[str, Meta(min_length=1, description="The symbol, or the path of the module, to move.")]
    to_path: FilePath


class ExtractFunction(Call, frozen=True, kw_only=True, tag="extract_function"):
    """Turn lines of a function into a new function or method, and call it there."""

    path: FilePath
    first_line: LineNumber
    last_line: LineNumber
    new_name: Identifier


class ExtractVariable(Call, frozen=True, kw_only=True, tag="extract_variable"):
    """Give an expression a name: assign it to a new variable before the statement that has it."""

    path: FilePath
    line: LineNumber
    expression: Annotated[str, Meta(min_length=1, description="The expression, exactly as it stands on that line.")]
    new_name: Identifier


class Inline(Call, frozen=True, kw_only=True, tag="inline"):
    """Replace the uses of a variable, function or method by its value or body, and remove it."""

    symbol: SymbolName


class ChangeKind(StrEnum):
    """What happens to one parameter."""

    ADD = "add"
    REMOVE = "remove"
    RENAME = "rename"
    MOVE = "move"
    DEFAULT = "default"


class ParameterChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One change of one parameter.

    `add` takes `default` (the value that existing callers pass) and maybe `position`; `rename` takes `new_name`;
    `move` takes `position` (0 is the first parameter, `self` and `cls` not counted); `default` takes `default`.
    """

    change: ChangeKind
    parameter: Identifier
    new_name: Identifier | UnsetType = UNSET
    default: Annotated[str, Meta(description="An expression of the file's language.")] | UnsetType = UNSET
    position: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


class ChangeSignature(Call, frozen=True, kw_only=True, tag="change_signature"):
    """Add, remove, reorder or rename parameters of a function, or set a default; callers follow."""

    symbol: SymbolName
    changes: Annotated[tuple[ParameterChange, ...], Meta(min_length=1)]


class Rewrite(Call, frozen=True, kw_only=True, tag="rewrite"):
    """Replace code by structure: $NAME in the pattern stands for one node, $$$NAME for any number (ast-grep)."""

    pattern: Annotated[str, Meta(min_length=1, description="Code with $METAVARIABLES, as ast-grep reads it.")]
    replacement: Annotated[str, Meta(description="What each match becomes; may use the pattern's metavariables.")]
    path: Annotated[str, Meta(description="A file or folder; none: the whole root.")] | UnsetType = UNSET


class OrganizeImports(Call, frozen=True, kw_only=True, tag="organize_imports"):
    """Sort a file's imports and remove those that nothing uses."""

    path: FilePath


class AddTypes(Call, frozen=True, kw_only=True, tag="add_types"):
    """Annotate the parameters and the result of a function with types."""

    symbol: SymbolName


class AddDocstring(Call, frozen=True, kw_only=True, tag="add_docstring"):
    """Write the docstring of a function, class or module. Without `text` it is generated from the code."""

    symbol: SymbolName
    text: Annotated[str, Meta(description="The docstring, without quotes.")] | UnsetType = UNSET


class Generate(Call, frozen=True, kw_only=True, tag="generate"):
    """Fill a hole: write new code after the given line, as the instruction says."""

    path: FilePath
    after_line: Annotated[int, Meta(ge=0, description="The line after which the code goes; 0: the file's start.")]
    instruction: Annotated[str, Meta(min_length=1)]


class Edit(Call, frozen=True, kw_only=True, tag="edit"):
    """Last resort: replace a text, which must occur exactly once in the file, by another."""

    path: FilePath
    old: Annotated[str, Meta(min_length=1)]
    new: str


class Decline(Call, frozen=True, kw_only=True, tag="decline"):
    """Change nothing, and say why: the wish is unclear, impossible, or not a refactoring."""

    reason: Annotated[str, Meta(min_length=1, description="One sentence.")]


class FindSymbol(Call, frozen=True, kw_only=True, tag="find_symbol"):
    """Where a name is defined in the repository."""

    symbol: SymbolName


class References(Call, frozen=True, kw_only=True, tag="references"):
    """Where a symbol is used."""

    symbol: SymbolName


class Definition(Call, frozen=True, kw_only=True, tag="definition"):
    """The source of a symbol's definition."""

    symbol: SymbolName


class Outline(Call, frozen=True, kw_only=True, tag="outline"):
    """The symbols of a file with their lines."""

    path: FilePath


class Search(Call, frozen=True, kw_only=True, tag="search"):
    """Lines of the repository that contain a text."""

    text: Annotated[str, Meta(min_length=1)]
    path: Annotated[str, Meta(description="A file or folder; none: the whole root.")] | UnsetType = UNSET


class Diagnostics(Call, frozen=True, kw_only=True, tag="diagnostics"):
    """Syntax errors, undefined and unused names of a file."""

    path: FilePath


ActingCall = (
    Rename
    | Move
    | ExtractFunction
    | ExtractVariable
    | Inline
    | ChangeSignature
    | Rewrite
    | OrganizeImports
    | AddTypes
    | AddDocstring
    | Generate
    | Edit
    | Decline
)
LookingCall = FindSymbol | References | Definition | Outline | Search | Diagnostics
AnyCall = ActingCall | LookingCall

ACTING: tuple[type[Call], ...] = ActingCall.__args__
LOOKING: tuple[type[Call], ...] = LookingCall.__args__
TOOLS: dict[str, type[Call]] = {str(tool.__struct_config__.tag): tool for tool in (*ACTING, *LOOKING)}
"""Every tool by its wire name."""
