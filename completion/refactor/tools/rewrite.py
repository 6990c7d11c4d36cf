"""`rewrite`, and ast-grep rules: code replaced by structure, in every language that ast-grep knows.

Where one match holds another, both are rewritten. A replacement of several lines is indented as its match is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from completion.language import detect
from completion.refactor.calls import Rewrite
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from model.errors import RefusedError, UsageError

LANGUAGE_NAMES = {
    "python": "python", "javascript": "javascript", "typescript": "typescript", "typescriptreact": "tsx", "go": "go",
    "rust": "rust", "java": "java", "kotlin": "kotlin", "scala": "scala", "swift": "swift", "c": "c", "cpp": "cpp",
    "csharp": "csharp", "php": "php", "ruby": "ruby", "lua": "lua", "elixir": "elixir", "haskell": "haskell",
    "shellscript": "bash", "html": "html", "css": "css", "json": "json", "yaml": "yaml",
}  # fmt: skip
_VARIABLE = re.compile(r"\$\$\$([A-Z_][A-Z0-9_]*)|\$([A-Z_][A-Z0-9_]*)|\$\$\$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An ast-grep rule with a fix. `config` is what ast-grep matches by: `rule`, `constraints`, `utils`."""

    id: str
    language: str
    fix: str
    config: Mapping[str, Any] = field(default_factory=dict)


def rewrite(call: Rewrite, overlay: Overlay) -> Outcome:
    """Raises `RefusedError`: a pattern that is no code, unknown metavariables, or no match at all."""
    under = call.path if isinstance(call.path, str) else ""
    _variables_are_known(call.pattern, call.replacement)
    mark = overlay.mark()
    count = 0
    for path in overlay.paths(under=under):
        name = LANGUAGE_NAMES.get(detect(path=path).id)
        if name is not None:
            count += _apply(
                overlay, path, name, {"rule": {"pattern": pattern_for(name, call.pattern)}}, call.replacement
            )
    return _outcome(overlay, overlay.changed_since(mark), count, what="pattern")


def carry_out_rule(rule: Rule, overlay: Overlay, *, under: str = "") -> Outcome:
    """Apply a rule to all files of its language. Raises `RefusedError` where nothing matches or the rule is wrong."""
    mark = overlay.mark()
    count = 0
    for path in overlay.paths(under=under):
        if LANGUAGE_NAMES.get(detect(path=path).id) == rule.language:
            count += _apply(overlay, path, rule.language, rule.config, rule.fix)
    return _outcome(overlay, overlay.changed_since(mark), count, what="rule")


def load_rule(file: Path) -> Rule:
    """Read an ast-grep rule (YAML: `id`, `language`, `rule`, `fix`). Raises `UsageError` for an unusable one."""
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file} cannot be read as a rule: {error}.", hint="Give an ast-grep rule in YAML.") from error
    if not isinstance(data, dict) or not isinstance(data.get("rule"), dict) or not isinstance(data.get("fix"), str):
        raise UsageError(f"{file} is no rule with a fix.", hint="It needs `language`, `rule` and `fix`.")
    language = {"ts": "typescript", "js": "javascript", "py": "python", "rs": "rust", "golang": "go"}.get(
        str(data.get("language", "")).lower(), str(data.get("language", "")).lower()
    )
    if language not in LANGUAGE_NAMES.values():
        raise UsageError(
            f"{file} is for {language or 'no language'}.", hint=f"Known: {', '.join(LANGUAGE_NAMES.values())}."
        )
    config = {key: data[key] for key in ("rule", "constraints", "utils") if key in data}
    return Rule(id=str(data.get("id") or file.stem), language=language, fix=data["fix"], config=config)


def pattern_for(language: str, pattern: str) -> str | dict[str, str]:
    """A pattern as ast-grep has to be told of it: a call alone is a type conversion to Go's grammar."""
    if language == "go" and re.fullmatch(r"[\w.$]+\(.*\)", pattern.strip(), re.DOTALL):
        return {"context": f"package p\nfunc f() {{ {pattern} }}", "selector": "call_expression"}
    return pattern


def rewritten(text: str, language: str, config: Mapping[str, Any], replacement: str) -> tuple[str, int]:
    """A text with every match replaced, and how many there were. `language`: ast-grep's name.

    Raises `RefusedError` for a pattern that ast-grep cannot read.
    """
    from ast_grep_py import SgRoot

    root = SgRoot(text, language).root()
    try:
        matches = root.find_all(dict(config))  # type: ignore[call-overload]
    except (RuntimeError, ValueError, TypeError) as error:
        raise RefusedError(f"ast-grep cannot read the pattern: {error}.", hint="Write code of the language.") from error
    found = [(one.range().start.index, one.range().end.index, one) for one in matches]
    found.sort(key=lambda each: (each[0], -each[1]))
    return _render(text, 0, len(text), found, replacement), len(found)


def _render(text: str, start: int, end: int, found: list[tuple[int, int, Any]], replacement: str) -> str:
    """The text between two offsets, with the matches inside replaced, outermost first."""
    pieces, at = [], start
    for first, last, match in found:
        if first < at or last > end:
            continue
        inner = [one for one in found if first <= one[0] and one[1] <= last and one[2] is not match]
        inner = [one for one in inner if (one[0], one[1]) != (first, last)]
        line_start = text.rfind("\n", 0, first) + 1
        indent = re.match(r"[ \t]*", text[line_start:first])
        pieces.append(text[at:first])
        pieces.append(_expand(text, match, inner, replacement, indent[0] if indent else ""))
        at = last
    return "".join([*pieces, text[at:end]])


def _expand(text: str, match: Any, inner: list[tuple[int, int, Any]], replacement: str, indent: str) -> str:
    def held(variable: re.Match[str]) -> str:
        if variable[1]:
            nodes = match.get_multiple_matches(variable[1])
            if not nodes:
                return ""
            start, end = nodes[0].range().start.index, nodes[-1].range().end.index
        else:
            node = match.get_match(variable[2]) if variable[2] else None
            if node is None:
                return variable[0]
            start, end = node.range().start.index, node.range().end.index
        return _render(text, start, end, inner, replacement)

    template = replacement.replace("\n", "\n" + indent)
    return _VARIABLE.sub(held, template)


def _apply(overlay: Overlay, path: str, language: str, config: Mapping[str, Any], replacement: str) -> int:
    try:
        text = overlay.read(path)
    except RefusedError:
        return 0
    changed, count = rewritten(text, language, config, replacement)
    if changed != text:
        overlay.write(path, changed)
    return count


def _variables_are_known(pattern: str, replacement: str) -> None:
    known = {match[1] or match[2] for match in _VARIABLE.finditer(pattern)}
    unknown = {match[1] or match[2] for match in _VARIABLE.finditer(replacement)} - known - {None}
    if unknown:
        raise RefusedError(
            f"The pattern has no ${', $'.join(sorted(one for one in unknown if one))}.",
            hint="The replacement may use the pattern's metavariables alone.",
        )


def _outcome(overlay: Overlay, changed: tuple[str, ...], count: int, *, what: str) -> Outcome:
    if not count:
        raise RefusedError(
            f"Nothing matches the {what}.", hint="Search for the code first, then write it as it stands."
        )
    if not changed:
        raise RefusedError("The replacement is what stands there.", hint="Nothing is to be changed.")
    return Outcome(changed=changed, notes=(f"{count} {'match' if count == 1 else 'matches'}",))
