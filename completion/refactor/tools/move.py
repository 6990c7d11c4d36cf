"""`move`: a top-level symbol into another file, or a module to another path. Rope, so Python only."""

from __future__ import annotations

import posixpath

from rope.refactor.move import MoveGlobal, MoveModule
from rope.refactor.rename import Rename as RopeRename

from completion.refactor.calls import Move
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.symbols import is_special, resolve
from completion.refactor.tools.blank_lines import tidy
from completion.refactor.tools.extras import leftovers
from completion.refactor.tools.relative_imports import follow
from completion.refactor.tools.rope_project import mirror
from model.errors import RefusedError


def move(call: Move, overlay: Overlay, *, prefer: str = "") -> Outcome:
    """Raises `RefusedError`: not a module or a top-level symbol of Python, or the target is taken."""
    mark = overlay.mark()
    if call.source.endswith(".py") and "::" not in call.source:
        old, new = _move_module(call.source, call.to_path, overlay)
    else:
        old, new = _move_symbol(call, overlay, prefer)
    changed = overlay.changed_since(mark)
    if not changed:
        raise RefusedError("It is there already.", hint="Choose another path.")
    extras = leftovers(overlay, old, new, paths=overlay.paths(), member=False)
    extras = [one for one in extras if one.why.startswith("in a")]
    return Outcome(changed=changed, extras=tuple(extras))


def _move_symbol(call: Move, overlay: Overlay, prefer: str) -> tuple[str, str]:
    place = resolve(overlay, call.source, prefer=prefer)
    path, name = place.symbol.path, place.symbol.name
    if not path.endswith(".py") or not call.to_path.endswith(".py"):
        raise RefusedError("Only Python symbols can be moved between files.", hint="Give a path that ends in .py.")
    if is_special(name):
        raise RefusedError(f"{name} is a name that Python itself knows.", hint="It belongs to its module.")
    if "." in name:
        raise RefusedError(f"{name} is not at the top level of {path}.", hint="Move the class that it belongs to.")
    if posixpath.normpath(call.to_path) == path:
        raise RefusedError(f"{name} is in {path} already.", hint="Choose another path.")
    mark = overlay.mark()
    new_file = not overlay.exists(call.to_path)
    if new_file:
        overlay.write(call.to_path, "")
    with mirror(overlay) as made:
        mover = MoveGlobal(made.project, made.file(path), place.start)
        made.carry_over(mover.get_changes(made.file(call.to_path)))
    follow(overlay, name, old_path=path, new_path=posixpath.normpath(call.to_path))
    for changed in overlay.changed_since(mark):
        before = "" if changed == call.to_path and new_file else overlay.text_at(mark, changed) or ""
        overlay.write(changed, tidy(before, overlay.read(changed).lstrip("\n")))
    return f"{_dotted(path)}.{name}", f"{_dotted(call.to_path)}.{name}"


def _move_module(source: str, to_path: str, overlay: Overlay) -> tuple[str, str]:
    source, to_path = posixpath.normpath(source), posixpath.normpath(to_path)
    if not to_path.endswith(".py"):
        to_path = posixpath.join(to_path, posixpath.basename(source))
    overlay.read(source)
    if overlay.exists(to_path):
        raise RefusedError(f"There is a {to_path} already.", hint="Choose another path.")
    folder, name = posixpath.split(to_path)
    if posixpath.dirname(source) != folder:
        with mirror(overlay) as made:
            made.carry_over(MoveModule(made.project, made.file(source)).get_changes(made.folder(folder)))
    arrived = posixpath.join(folder, posixpath.basename(source))
    if name != posixpath.basename(source):
        with mirror(overlay) as made:
            renamer = RopeRename(made.project, made.file(arrived))
            made.carry_over(renamer.get_changes(name.removesuffix(".py")))
    return _dotted(source), _dotted(to_path)


def _dotted(path: str) -> str:
    return path.removesuffix(".py").removeprefix("src/").replace("/", ".").removesuffix(".__init__")
