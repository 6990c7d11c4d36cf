"""Finds secrets in text by their shape, and takes them out. A table of its own: loading a scanner costs too much.

Prefers to take out too much: a model completes as well beside `[redacted]`.
"""

from __future__ import annotations

import math
import re
from collections import Counter

REDACTED = "[redacted]"
_PATTERNS = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ABIA|ACCA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{36,}\b",
    r"\bgithub_pat_[A-Za-z0-9_]{40,}\b",
    r"\bglpat-[A-Za-z0-9_-]{20,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"https://hooks\.slack\.com/services/[A-Za-z0-9/_-]{20,}",
    r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"\bsk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{20,}",
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bya29\.[A-Za-z0-9_-]{20,}",
    r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    r"\bnpm_[A-Za-z0-9]{36}\b",
    r"\bpypi-[A-Za-z0-9_-]{50,}",
    r"\bhf_[A-Za-z0-9]{30,}\b",
    r"\bdop_v1_[a-f0-9]{64}\b",
    r"\bAC[a-f0-9]{32}\b",
    r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b",
    r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    r"(?<=AccountKey=)[A-Za-z0-9+/=]{60,}",
    r"(?<=://)[^\s/:@'\"]{1,60}:[^\s/@'\"{}$<>]{3,100}(?=@[\w.-])",
)
_BEGINNINGS = (
    "-----BEGIN", "AKIA", "ASIA", "AGPA", "AIDA", "AROA", "ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_",
    "github_pat_", "glpat-", "xox", "hooks.slack.com", "k_live_", "k_test_", "sk-", "AIza", "ya29.", "SG.", "npm_",
    "pypi-", "hf_", "dop_v1_", "AC", ":AA", "eyJ", "AccountKey=", "://",
)  # fmt: skip
"""What each of the patterns needs: looking for plain strings first makes most texts a hundred times cheaper."""
_SAYING = ("pass", "secret", "token", "key", "credential")
_KNOWN = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))
# A value in quotes, given to a name that says what it is. Bounded, or "tokentoken…" takes the square of its length.
_ASSIGNED = re.compile(
    r"(?P<head>(?:pass(?:word|wd|phrase)|secret|token|api_?key|access_?key|auth_?key|private_?key|credential)\w{0,80}"
    r"['\"\]]?\s{0,80}(?::=|[:=]|=>)\s{0,80}[a-zA-Z]{0,2}(?P<quote>['\"]))(?P<value>[^'\"\n]{6,})(?P=quote)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"^(?:[<\[{$%].*|.*[{}<>\s].*|\*+|x+|\.+|.*(?:example|changeme|placeholder|dummy|your[-_ ]|todo|redacted|test).*)$",
    re.IGNORECASE,
)
_LONG = re.compile(r"(?<=['\"])[A-Za-z0-9+/_=-]{32,}(?=['\"])")
_LEAST_BITS = 4.2
"""Entropy per character above which a long string in quotes is no word: hex digests lie below, keys above."""


def secrets(text: str) -> list[tuple[int, int]]:
    """Where secrets stand in a text: (start, end), in order, apart from each other."""
    known = any(beginning in text for beginning in _BEGINNINGS)
    spans = [match.span() for match in _KNOWN.finditer(text)] if known else []
    small = text.lower()
    for match in _ASSIGNED.finditer(text) if any(word in small for word in _SAYING) else ():
        if not _PLACEHOLDER.match(match["value"]) and _looks_random(match["value"]):
            spans.append(match.span("value"))
    spans += [match.span() for match in _LONG.finditer(text) if _bits(match[0]) > _LEAST_BITS]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def redact(text: str) -> str:
    """The text with each secret replaced by `[redacted]`; lines stay lines."""
    for start, end in reversed(secrets(text)):
        text = text[:start] + REDACTED + text[end:]
    return text


def prints_secret(text: str) -> bool:
    """Whether a completion would put something secret-shaped, or a trace of one, on the screen."""
    return bool(secrets(text)) or REDACTED in text


def _looks_random(value: str) -> bool:
    """A password is not one plain word."""
    return not re.fullmatch(r"[a-z_. -]+|[A-Z_]+|[a-zA-Z]+", value)


def _bits(text: str) -> float:
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
