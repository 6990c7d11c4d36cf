"""`add_types`: annotations of a Python function, as far as the code itself tells them; nothing is guessed.

A parameter's type comes from its default and from the literals that all known callers pass, the result's from what is
returned. Written by LibCST, so that comments and line breaks stay. What is not known: types of values that come from
elsewhere; such parameters are left bare, and named in the notes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from completion.refactor.calls import AddTypes
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.symbols import Place, resolve
from completion.refactor.tools.heirs import Spot
from completion.refactor.tools.occurrences import occurrences
from model.errors import RefusedError

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_BUILT = {
    "len": "int", "str": "str", "int": "int", "float": "float", "bool": "bool", "isinstance": "bool", "repr": "str",
    "callable": "bool", "hasattr": "bool", "issubclass": "bool", "any": "bool", "all": "bool", "ord": "int",
    "chr": "str", "bytes": "bytes", "hash": "int", "id": "int", "format": "str", "bin": "str", "hex": "str",
}  # fmt: skip
_COLLECTED = {
    "list": "list",
    "dict": "dict",
    "set": "set",
    "tuple": "tuple",
    "sorted": "list",
    "frozenset": "frozenset",
}
_OF_STRINGS = {
    "join": "str", "format": "str", "strip": "str", "lower": "str", "upper": "str", "replace": "str", "title": "str",
    "startswith": "bool", "endswith": "bool", "isdigit": "bool", "split": "list[str]", "encode": "bytes", "find": "int",
    "lstrip": "str", "rstrip": "str", "capitalize": "str", "count": "int", "splitlines": "list[str]",
}  # fmt: skip
_NUMBERS = ("bool", "int", "float")


def add_types(call: AddTypes, overlay: Overlay, *, prefer: str = "") -> Outcome:
    """Raises `RefusedError`: no function of Python, one that is annotated, or nothing that the code tells."""
    place = resolve(overlay, call.symbol, prefer=prefer)
    path, text = place.symbol.path, overlay.read(place.symbol.path)
    if not path.endswith((".py", ".pyi")) or place.symbol.kind not in ("function", "method"):
        raise RefusedError(f"{call.symbol} is no Python function.", hint="Types are added to Python functions alone.")
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise RefusedError(f"{path} has syntax errors.", hint="Repair it first.") from error
    line = text.count("\n", 0, place.start) + 1
    node = next((one for one in ast.walk(tree) if isinstance(one, _Function) and one.lineno == line), None)
    if node is None:
        raise RefusedError(f"{call.symbol} is no function.", hint="Name a function or method.")
    bare = _bare(node, method=place.symbol.kind == "method")
    if not bare and node.returns is not None:
        raise RefusedError(f"{call.symbol} is annotated.", hint="Nothing is to be added.")
    found = _parameter_types(node, bare, overlay, place)
    known = {one.arg: ast.unparse(one.annotation) for one in _all(node.args) if one.annotation} | found
    result = "" if node.returns is not None else _returned(node, _Known(tree, known))
    if not found and not result:
        raise RefusedError(f"The code does not tell the types of {call.symbol}.", hint="Write them with edit.")
    unions = _may_use_unions(overlay, text)
    column = place.start - (text.rfind("\n", 0, place.start) + 1)
    writer = _Writer(
        (line, column), {name: _written(one, unions) for name, one in found.items()}, _written(result, unions)
    )
    overlay.write(path, MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True).visit(writer).code)
    left = [name for name in bare if name not in found]
    notes = [f"Not told by the code: {', '.join(left)}."] if left else []
    if not result and node.returns is None:
        notes.append("The result's type is not told by the code.")
    return Outcome(changed=(path,), notes=tuple(notes))


class _Known:
    """What expressions are, as far as names in view tell."""

    def __init__(self, tree: ast.Module, names: dict[str, str]) -> None:
        self._names = names
        self._classes = {one.name for one in tree.body if isinstance(one, ast.ClassDef)}
        self._results = {
            one.name: ast.unparse(one.returns) for one in tree.body if isinstance(one, ast.FunctionDef) and one.returns
        }
        defined = {one.name for one in ast.walk(tree) if isinstance(one, _Function | ast.ClassDef)}
        self._shadowed = defined | {
            one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }

    def type_of(self, node: ast.expr) -> str:
        """The type of an expression; "" where it is not told."""
        match node:
            case ast.Constant(value=value):
                return "" if value is ... else "None" if value is None else type(value).__name__
            case ast.JoinedStr():
                return "str"
            case ast.Compare(ops=ops) if all(isinstance(one, ast.Is | ast.IsNot | ast.In | ast.NotIn) for one in ops):
                return "bool"
            case ast.Compare(left=left, comparators=others):
                kinds = {self.type_of(one) for one in [left, *others]}
                return "bool" if kinds <= {"int", "float", "str", "bool", "bytes"} else ""
            case ast.UnaryOp(op=ast.Not()):
                return "bool"
            case ast.UnaryOp(operand=operand):
                kind = self.type_of(operand)
                return "int" if kind == "bool" else kind if kind in ("int", "float") else ""
            case ast.BinOp():
                return self._computed(node)
            case ast.BoolOp(values=values):
                return _joined({self.type_of(one) for one in values}) if len({*map(self.type_of, values)}) == 1 else ""
            case ast.IfExp(body=body, orelse=other):
                return _joined({self.type_of(body), self.type_of(other)})
            case ast.Name(id=name):
                return self._names.get(name, "")
            case ast.List() | ast.ListComp() | ast.Set() | ast.SetComp() | ast.Tuple() | ast.Dict() | ast.DictComp():
                return self._collected(node)
            case ast.Call():
                return self._called(node)
        return ""

    def _computed(self, node: ast.BinOp) -> str:
        left, right = self.type_of(node.left), self.type_of(node.right)
        if left == "str" and isinstance(node.op, ast.Mod):
            return "str"
        if left == right == "str" and isinstance(node.op, ast.Add):
            return "str"
        if left not in _NUMBERS or right not in _NUMBERS or isinstance(node.op, ast.Pow | ast.BitAnd | ast.BitOr):
            return ""
        if isinstance(node.op, ast.Div) or "float" in (left, right):
            return "float"
        return "int" if isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.FloorDiv | ast.Mod) else ""

    def _collected(self, node: ast.expr) -> str:
        if isinstance(node, ast.Dict):
            keys = {self.type_of(one) if one is not None else "" for one in node.keys}
            values = {self.type_of(one) for one in node.values}
            inner = (*keys, *values) if len(keys) == len(values) == 1 else ("",)
            return f"dict[{', '.join(inner)}]" if all(inner) else "dict"
        if isinstance(node, ast.DictComp):
            inner = (self.type_of(node.key), self.type_of(node.value))
            return f"dict[{', '.join(inner)}]" if all(inner) else "dict"
        if isinstance(node, ast.Tuple):
            parts = [self.type_of(one) for one in node.elts]
            return f"tuple[{', '.join(parts)}]" if parts and all(parts) else "tuple"
        name = "list" if isinstance(node, ast.List | ast.ListComp) else "set"
        held = [node.elt] if isinstance(node, ast.ListComp | ast.SetComp) else getattr(node, "elts", [])
        kinds = {self.type_of(one) for one in held}
        return f"{name}[{kinds.pop()}]" if len(kinds) == 1 and "" not in kinds else name

    def _called(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Attribute):
            return _OF_STRINGS.get(node.func.attr, "") if self.type_of(node.func.value) == "str" else ""
        if not isinstance(node.func, ast.Name):
            return ""
        name = node.func.id
        if name in self._classes:
            return name
        if name in self._results:
            return self._results[name]
        return "" if name in self._shadowed else _BUILT.get(name) or _COLLECTED.get(name, "")


def _parameter_types(node: _Function, bare: list[str], overlay: Overlay, place: Place) -> dict[str, str]:
    """Types of parameters: the default's and the callers' literals must tell one, and nothing may contradict."""
    defaults = dict(_defaults(node.args))
    passed = _passed(node, overlay, place)
    found = {}
    literal = _Known(ast.Module(body=[], type_ignores=[]), {})
    for name in bare:
        kinds = {literal.type_of(one) for one in passed.get(name, [])}
        default = literal.type_of(defaults[name]) if name in defaults else None
        if default is None:
            if kinds and "" not in kinds:
                found[name] = _joined(kinds)
        elif default == "None":
            if kinds - {"None"} and "" not in kinds:
                found[name] = _joined(kinds | {"None"})
        elif default in (*_NUMBERS, "str", "bytes"):
            found[name] = _joined({default, *kinds} - {""})
    return {name: one for name, one in found.items() if one and one != "None"}


def _passed(node: _Function, overlay: Overlay, place: Place) -> dict[str, list[ast.expr]]:
    """What callers pass, by parameter. A call with `*` or `**` passes what nobody knows."""
    names = [one.arg for one in [*node.args.posonlyargs, *node.args.args]]
    static = any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)
    if place.symbol.kind == "method" and not static:
        names = names[1:]
    found: dict[str, list[ast.expr]] = {}
    for path, spots in occurrences(overlay, place).items():
        for call in _calls(overlay.read(path), spots):
            starred = any(isinstance(one, ast.Starred) for one in call.args) or any(
                one.arg is None for one in call.keywords
            )
            for name in names if starred else []:
                found.setdefault(name, []).append(ast.Name("unknown"))
            for name, value in zip(names, call.args, strict=False):
                found.setdefault(name, []).append(value)
            for one in call.keywords:
                if one.arg is not None:
                    found.setdefault(one.arg, []).append(one.value)
    return found


def _calls(text: str, spots: set[Spot]) -> Iterator[ast.Call]:
    lines = text.split("\n")
    for one in ast.walk(ast.parse(text)):
        if not isinstance(one, ast.Call):
            continue
        func = one.func
        if isinstance(func, ast.Name):
            line, byte = func.lineno, func.col_offset
        elif isinstance(func, ast.Attribute) and func.end_lineno and func.end_col_offset is not None:
            line, byte = func.end_lineno, func.end_col_offset - len(func.attr.encode())
        else:
            continue
        if (line, len(lines[line - 1].encode()[:byte].decode("utf-8", "replace"))) in spots:
            yield one


def _returned(node: _Function, known: _Known) -> str:
    """The type of the result; "" for generators, and where a return does not tell."""
    own = list(_own(node))
    if any(isinstance(one, ast.Yield | ast.YieldFrom) for one in own):
        return ""
    if any(isinstance(one, ast.Name) and one.id == "abstractmethod" for one in node.decorator_list):
        return ""
    returns = [one for one in own if isinstance(one, ast.Return)]
    kinds = {"None" if one.value is None else known.type_of(one.value) for one in returns}
    if not returns or (not _ends(node.body) and kinds != {"None"}):
        if not returns and _only_raises(node):
            return ""
        kinds.add("None")
    return _joined(kinds)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _Function | ast.Lambda | ast.ClassDef):
            yield from _own(child)


def _ends(body: list[ast.stmt]) -> bool:
    """Whether the end of a body is never reached."""
    last = body[-1]
    if isinstance(last, ast.Return | ast.Raise):
        return True
    if isinstance(last, ast.If):
        return bool(last.orelse) and _ends(last.body) and _ends(last.orelse)
    if isinstance(last, ast.With | ast.AsyncWith):
        return _ends(last.body)
    if isinstance(last, ast.While):
        always = isinstance(last.test, ast.Constant) and bool(last.test.value)
        return always and not any(isinstance(one, ast.Break) for one in ast.walk(last))
    if isinstance(last, ast.Try):
        handled = all(_ends(one.body) for one in last.handlers)
        return (handled and _ends(last.orelse or last.body)) or (bool(last.finalbody) and _ends(last.finalbody))
    if isinstance(last, ast.Match):
        whole = any(isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and case.guard is None
                    for case in last.cases)  # fmt: skip
        return whole and all(_ends(case.body) for case in last.cases)
    return False


def _only_raises(node: _Function) -> bool:
    body = [one for one in node.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return not body or all(isinstance(one, ast.Raise) for one in body)


def _bare(node: _Function, *, method: bool) -> list[str]:
    names = [one.arg for one in _all(node.args) if one.annotation is None]
    first = [*node.args.posonlyargs, *node.args.args][:1]
    static = any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)
    return [name for name in names if not (method and not static and first and name == first[0].arg)]


def _all(args: ast.arguments) -> list[ast.arg]:
    return [*args.posonlyargs, *args.args, *args.kwonlyargs]


def _defaults(args: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*args.posonlyargs, *args.args]
    for one, value in zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True):
        yield one.arg, value
    for one, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        if default is not None:
            yield one.arg, default


def _joined(kinds: set[str]) -> str:
    """One type for several; "" where one is not known. `int` counts as `float`, as typing has it."""
    if not kinds or "" in kinds:
        return ""
    if "float" in kinds:
        kinds = kinds - {"int"}
    rest = sorted(one for one in kinds if one != "None")
    return " | ".join([*rest, *(["None"] if "None" in kinds else [])])


def _may_use_unions(overlay: Overlay, text: str) -> bool:
    if "from __future__ import annotations" in text:
        return True
    if not overlay.exists("pyproject.toml"):
        return False
    match = re.search(r'requires-python\s*=\s*"[>=~^ ]*3\.(\d+)', overlay.read("pyproject.toml"))
    return match is not None and int(match[1]) >= 10


def _written(one: str, unions: bool) -> str:
    """An annotation as source: quoted where this Python may not know `|`."""
    return f'"{one}"' if " | " in one and not unions else one


class _Writer(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, spot: Spot, parameters: dict[str, str], result: str) -> None:
        super().__init__()
        self._spot, self._parameters, self._result = spot, parameters, result

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """The one function; those inside of it stay."""
        if not self._is_it(original_node):
            return updated_node
        params = updated_node.params
        held = params.with_changes(
            posonly_params=[self._annotated(one) for one in params.posonly_params],
            params=[self._annotated(one) for one in params.params],
            kwonly_params=[self._annotated(one) for one in params.kwonly_params],
        )
        changed = updated_node.with_changes(params=held)
        if not self._result:
            return changed
        return changed.with_changes(returns=cst.Annotation(cst.parse_expression(self._result)))

    def _annotated(self, one: cst.Param) -> cst.Param:
        said = self._parameters.get(one.name.value)
        if said is None:
            return one
        annotated = one.with_changes(annotation=cst.Annotation(cst.parse_expression(said)))
        return annotated.with_changes(equal=cst.AssignEqual()) if one.default is not None else annotated

    def _is_it(self, node: cst.FunctionDef) -> bool:
        start = self.get_metadata(PositionProvider, node.name).start
        return (start.line, start.column) == self._spot
