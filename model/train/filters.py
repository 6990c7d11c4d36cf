"""Which source files are worth learning from: hand-written, readable, of sensible size. Looks at one file at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

MIN_CHARS = 400
MAX_CHARS = 100_000
_MAX_LINE_CHARS = 400
_MAX_MEAN_LINE_CHARS = 70
_MAX_DIGIT_SHARE = 0.12
_MIN_DISTINCT_LINES = 0.35
_HEAD_CHARS = 1500
LONG_LINE_CHARS = 40

_LANGUAGES = {
    ".py": "python",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".ts": "typescript",
    ".tsx": "tsx",
}
# Copies of other packages, which have licences and held-out lists of their own, and what build tools write.
_FOREIGN = re.compile(
    r"(^|/)(_?vendor(ed|s)?|_vendored_packages|third_?party|extern(al|s)?|_?bundled|site-packages|node_modules|"
    r"packages_vendored|compat/_?backports)(/|$)|_pb2(_grpc)?\.py$|\.min\.|[.-]bundle\.",
    re.IGNORECASE,
)
_BUILT = re.compile(r"(^|/)(dist|build|cjs|umd|commonjs|lib-cjs|dist-cjs|bundles?|es5|_esm2015|fesm\d*)(/|$)")
_TEST = re.compile(r"(^|/)(tests?|testing|__tests__|specs?|fixtures?|benchmarks?|examples?|docs?)(/|$)", re.IGNORECASE)
_TEST_NAME = re.compile(r"^(test_.*|.*_tests?|conftest|.*[.-](test|spec|stories|bench))\.\w+$", re.IGNORECASE)
_GENERATED = re.compile(
    r"do not edit|don't edit|auto-?generated|generated (by|from|with|automatically|code)|@generated|machine generated|"
    r"file is generated",
    re.IGNORECASE,
)
_COMPILED = re.compile(r"__esModule|_interopRequire|__awaiter\b|tslib|__webpack_require__|core-js|regeneratorRuntime")
_SOURCE_MAP = "//# sourceMappingURL="


def language_of(path: str) -> str | None:
    """The language by file name; None for what is not trained on."""
    return None if path.endswith(".d.ts") else _LANGUAGES.get(PurePosixPath(path).suffix)


def is_test(path: str) -> bool:
    """Whether a file is a test, an example or a fixture by its path."""
    return bool(_TEST.search(path) or _TEST_NAME.match(PurePosixPath(path).name))


def reject(path: str, text: str) -> str | None:
    """Why a file is not worth learning from, in one word; None: it is."""
    if language_of(path) is None:
        return "language"
    if _FOREIGN.search(path) or (language_of(path) != "python" and _BUILT.search(path)):
        return "foreign"
    if not MIN_CHARS <= len(text) <= MAX_CHARS:
        return "size"
    if _GENERATED.search(text[:_HEAD_CHARS]):
        return "generated"
    if language_of(path) != "python" and (_COMPILED.search(text) or _SOURCE_MAP in text):
        return "compiled"
    return _reject_by_shape(text)


def _reject_by_shape(text: str) -> str | None:
    lines = [line for line in text.split("\n") if line.strip()]
    if "\ufffd" in text or "\x00" in text:
        return "encoding"
    if max(map(len, lines)) > _MAX_LINE_CHARS or sum(map(len, lines)) > _MAX_MEAN_LINE_CHARS * len(lines):
        return "minified"
    if sum(map(str.isdigit, text)) > _MAX_DIGIT_SHARE * len(text):
        return "data"
    if len(set(lines)) < _MIN_DISTINCT_LINES * len(lines):
        return "repetitive"
    return None


def long_lines(texts: Iterable[str]) -> frozenset[str]:
    """Lines long enough that a copy of one is no accident, stripped."""
    return frozenset(
        line.strip() for text in texts for line in text.split("\n") if len(line.strip()) >= LONG_LINE_CHARS
    )


def overlaps(text: str, lines: frozenset[str]) -> bool:
    """Whether `text` has one of `lines` (from `long_lines`)."""
    return any(line.strip() in lines for line in text.split("\n"))
