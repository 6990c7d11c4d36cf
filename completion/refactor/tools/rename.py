"""`rename`: rope for Python, scopes and imports for other languages. Names that may or may not be meant are extras."""

from __future__ import annotations

import keyword

from rope.refactor.rename import Rename as RopeRename

from completion.language import detect
from completion.refactor import symbols
from completion.refactor.calls import Rename
from completion.refactor.outcome import Extra, Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.renamer import Renamer, by_editor
from completion.refactor.scopes import LANGUAGES, scopes_of
from completion.refactor.symbols import Place, is_special, resolve
from completion.refactor.tools import members, modules
from completion.refactor.tools.extras import follow_fields, follow_strings, leftovers
from completion.refactor.tools.locals import place_of_local
from completion.refactor.tools.rope_project import mirror
from completion.refactor.tools.within import bearing, of_local
from model.errors import RefusedError

_BY_EDITOR = "Renamed by the editor's language server."


def rename(call: Rename, overlay: Overlay, *, prefer: str = "", renamer: Renamer | None = None) -> Outcome:
    """`renamer`, where there is one, is asked first: rope and scopes do what it does not.

    Raises `RefusedError`: no such symbol, more than one, or a new name that would take another's meaning.
    """
    if call.symbol.endswith(".py") and overlay.exists(call.symbol):
        return _rename_module(call, overlay)
    place, local = find(overlay, call.symbol, prefer=prefer)
    language = detect(path=place.symbol.path).id
    old = overlay.read(place.symbol.path)[place.start : place.end]
    if language == "python" and is_special(old):
        raise RefusedError(f"{old} is a name that Python itself knows.", hint="Rename what you have named.")
    if old == call.new_name:
        raise RefusedError(f"{old} is called so already.", hint="Choose another name.")
    if language == "python":
        return _rename_python(overlay, place, old, call.new_name, local=local, renamer=renamer)
    if language not in LANGUAGES:
        if by_editor(renamer, overlay, place, call.new_name):
            return Outcome(changed=tuple(one.path for one in overlay.changes()), notes=(_BY_EDITOR,))
        raise RefusedError(f"Names in {language} cannot be followed.", hint="Rewrite by structure instead.")
    return _rename_elsewhere(overlay, place, old, call.new_name, language, local=local, renamer=renamer)


def find(overlay: Overlay, symbol: str, *, prefer: str = "") -> tuple[Place, bool]:
    """What a name means: a symbol of the outline, else a variable or parameter inside of one (then True)."""
    try:
        return resolve(overlay, symbol, prefer=prefer), False
    except RefusedError:
        place = place_of_local(overlay, symbol, prefer=prefer)
        if place is None:
            raise
        return place, True


def _rename_python(
    overlay: Overlay, place: Place, old: str, new: str, *, local: bool, renamer: Renamer | None
) -> Outcome:
    if keyword.iskeyword(new):
        raise RefusedError(f"{new} is a word of the language.", hint="Choose another name.")
    member = not local and "." in place.symbol.name and place.symbol.kind in ("method", "field")
    _no_collision(overlay.read(place.symbol.path), "python", place, new, member=member)
    mark = overlay.mark()
    theirs = by_editor(renamer, overlay, place, new)
    if not theirs:
        _by_rope(overlay, place, old, new, local=local)
    changed = overlay.changed_since(mark)
    if not changed:
        raise RefusedError(f"Rope finds nothing to rename at {old}.", hint="Name the symbol with its file.")
    for file in changed:
        _no_capture(overlay.text_at(mark, file) or "", file, old, new, member=member)
    if not local:
        knowing = changed if member else overlay.paths(language="python")
        follow_strings(overlay, old, new, paths=[one for one in knowing if one in changed])
        follow_fields(overlay, place, new)
    extras = _extras(overlay, place, old, new, local=local, member=member)
    notes = (_BY_EDITOR,) if theirs else ()
    return Outcome(changed=overlay.changed_since(mark), notes=notes, extras=tuple(extras))


def _by_rope(overlay: Overlay, place: Place, old: str, new: str, *, local: bool) -> None:
    path = place.symbol.path
    with mirror(overlay) as made:
        within = of_local(overlay, path, old) if local else bearing(overlay, old)
        changes = RopeRename(made.project, made.file(path), place.start).get_changes(
            new, docs=False, in_hierarchy=True, resources=made.files(within)
        )
        made.carry_over(changes)


def _extras(overlay: Overlay, place: Place, old: str, new: str, *, local: bool, member: bool) -> list[Extra]:
    """A local name is sought in its own function alone, and there only in words."""
    if not local:
        return leftovers(overlay, old, new, paths=overlay.paths(), member=member)
    found = leftovers(overlay, old, new, paths=[place.symbol.path], member=False)
    first, last = place.symbol.first_line, place.symbol.last_line
    return [one for one in found if first <= one.line <= last and one.why.startswith("in a")]


def _rename_module(call: Rename, overlay: Overlay) -> Outcome:
    mark = overlay.mark()
    with mirror(overlay) as made:
        made.carry_over(RopeRename(made.project, made.file(call.symbol)).get_changes(call.new_name))
    old = call.symbol.rpartition("/")[2].removesuffix(".py")
    if old == "__init__":
        old = call.symbol.split("/")[-2]
    extras = leftovers(overlay, old, call.new_name, paths=overlay.paths(), member=False)
    return Outcome(changed=overlay.changed_since(mark), extras=tuple(extras))


def _rename_elsewhere(
    overlay: Overlay, place: Place, old: str, new: str, language: str, *, local: bool, renamer: Renamer | None
) -> Outcome:
    path, text = place.symbol.path, overlay.read(place.symbol.path)
    mark = overlay.mark()
    found = scopes_of(text, language)
    assert found is not None
    byte = found.parsed.byte(place.start)
    node = next((one for one in found.nodes(old) if one.start_byte == byte), None)
    binding = None if node is None else found.binding(node)
    in_class = "." in place.symbol.name and place.symbol.kind in ("method", "field")
    if binding is None and not in_class:
        raise RefusedError(f"It is not clear what {old} refers to.", hint="Name the symbol with its file.")
    _no_collision(text, language, place, new, member=in_class)
    if by_editor(renamer, overlay, place, new):
        extras = _extras(overlay, place, old, new, local=local, member=in_class)
        return Outcome(changed=overlay.changed_since(mark), notes=(_BY_EDITOR,), extras=tuple(extras))
    changed = text
    spans: dict[tuple[int, int], str] = {}
    if binding is not None:
        if found.capture(binding, new) is not None:
            raise RefusedError(f"{new} means something else where {old} is used.", hint="Choose another name.")
        for one in found.references(binding):
            spans |= modules.spelled(found.parsed, one, new)
    if in_class:
        spans |= members.spans(found, place, old, new)
    changed = modules.respell(text, spans)
    overlay.write(path, changed)
    notes = []
    if not local and not in_class:
        modules.follow(overlay, place, old, new, language)
    extras = _extras(overlay, place, old, new, local=local, member=in_class)
    if not local and language in ("java", "rust") and any(one.path != path for one in extras):
        notes.append("Other files were searched for the word only.")
    return Outcome(changed=overlay.changed_since(mark), notes=tuple(notes), extras=tuple(extras))


def _no_collision(text: str, language: str, place: Place, new: str, *, member: bool) -> None:
    holder = place.symbol.name.rpartition(".")[0]
    wanted = f"{holder}.{new}" if holder else new
    if any(one.symbol.name == wanted for one in symbols.places(text, place.symbol.path)):
        raise RefusedError(f"There is a {wanted} already.", hint="Choose another name.")
    if member:
        return
    found = scopes_of(text, language)
    old = text[place.start : place.end]
    if found is None:
        return
    byte = found.parsed.byte(place.start)
    node = next((one for one in found.nodes(old) if one.start_byte == byte), None)
    binding = None if node is None else found.binding(node)
    if binding is not None and found.capture(binding, new) is not None:
        raise RefusedError(f"{new} means something else where {old} is used.", hint="Choose another name.")


def _no_capture(text: str, path: str, old: str, new: str, *, member: bool) -> None:
    """In a file that imports the name: would the new one take another's meaning?"""
    found = None if member else scopes_of(text, "python")
    if found is None:
        return
    for binding in found.scopes[0].bindings.get(old, []):
        if found.capture(binding, new) is not None:
            raise RefusedError(f"{new} means something else in {path}.", hint="Choose another name.")
