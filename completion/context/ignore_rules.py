"""What the lines of an ignore file say of a path, as git reads them. Knows no folders and no files.

Matched by RE2, whose time is linear in the length of a path: a repository's own patterns cannot make the index spin, as
they can with regular expressions that go back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_log = logging.getLogger(__name__)


class IgnoreRules:
    """The rules of one folder."""

    def __init__(self, lines: Iterable[str], *, source: str) -> None:
        """`source` names the file where a line of it cannot be read, which is passed over as git does."""
        self._specs = tuple(reversed(_matchers(list(_patterns(lines, source)), source)))

    def verdict(self, path: str) -> bool | None:
        """Is `path`, seen from the rules' folder, ignored? None: no rule has a word on it. Folders end in "/"."""
        for spec in self._specs:
            ignored = spec.check_file(path).include
            if ignored is not None:
                return ignored
        return None


def _patterns(lines: Iterable[str], source: str) -> Iterator[GitIgnoreSpecPattern]:
    from pathspec.patterns.gitignore import GitIgnorePatternError
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    for line in lines:
        try:
            pattern = GitIgnoreSpecPattern(line)
        except GitIgnorePatternError as error:
            _log.warning("passed over a line of %s: %s", source, error)
        else:
            if pattern.include is not None:  # neither blank nor a comment
                yield pattern


def _matchers(patterns: list[GitIgnoreSpecPattern], source: str) -> list[GitIgnoreSpec]:
    """All patterns in one, or in several, one behind the other, where they take more memory than one may have."""
    import re2
    from pathspec import GitIgnoreSpec

    if not patterns:
        return []
    try:
        return [GitIgnoreSpec(patterns, backend="re2")]
    except re2.error as error:
        if len(patterns) == 1:
            _log.warning("passed over a line of %s: %s: %.80r", source, error, patterns[0].pattern)
            return []
        half = len(patterns) // 2
        return _matchers(patterns[:half], source) + _matchers(patterns[half:], source)
