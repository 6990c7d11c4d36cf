"""Is a package's declared licence one of MIT, BSD, Apache? Reads metadata only: it does not read licence texts."""

from __future__ import annotations

import re

_ALLOWED = re.compile(r"\b(mit|bsd|apache)\b|\b(mit|bsd|apache)[-_ ]", re.IGNORECASE)
_COPYLEFT = re.compile(r"gpl|mpl|mozilla|eclipse|\bepl|cddl|eupl|cc[- ]by|commercial|proprietary", re.IGNORECASE)
_CLASSIFIER = "License :: OSI Approved :: "
_NAME_CHARS = 120


def is_permissive(licence: str) -> bool:
    """Whether an SPDX expression, or the short name that older metadata has, grants MIT, BSD or Apache terms.

    Of alternatives joined by OR one must be granted, of parts joined by AND each. A whole licence text in place of a
    name counts by its beginning, where licences say their name.
    """
    if " or " in licence.lower():
        return any(is_permissive(part) for part in re.split(r"\bor\b", licence, flags=re.IGNORECASE))
    parts = re.split(r"\band\b", licence[:_NAME_CHARS].strip("() \n"), flags=re.IGNORECASE)
    return all(_ALLOWED.search(part) is not None and _COPYLEFT.search(part) is None for part in parts)


def from_python_metadata(metadata: str) -> str:
    """The licence that a wheel's METADATA or an sdist's PKG-INFO declares: expression, else classifiers, else name."""
    head = metadata.split("\n\n", 1)[0]
    expression = re.search(r"^License-Expression: (.+)$", head, re.MULTILINE)
    if expression:
        return expression.group(1).strip()
    classifiers = re.findall(rf"^Classifier: {_CLASSIFIER}(.+)$", head, re.MULTILINE)
    if classifiers:
        return " OR ".join(name.strip() for name in classifiers)
    name = re.search(r"^License: (.+)$", head, re.MULTILINE)
    return name.group(1).strip()[:_NAME_CHARS] if name else ""
