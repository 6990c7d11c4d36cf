"""Rules as git has them, whatever a repository writes into its ignore files."""

from __future__ import annotations

import logging

import pytest

from completion.context.ignore_rules import IgnoreRules


def rules(*lines: str) -> IgnoreRules:
    return IgnoreRules(lines, source="a test")


@pytest.mark.parametrize(
    ("lines", "path", "verdict"),
    [
        ([], "a.py", None),
        (["# a", "", "   "], "a.py", None),
        (["*.py"], "b/a.py", True),
        (["*.py", "!a.py"], "a.py", False),
        (["/b/"], "b/a.py", True),
        (["/b/"], "c/b", None),
        (["b/"], "c/b/", True),
        (["**/x/**/y"], "a/x/b/c/y", True),
        (["a[0-9]?.py"], "a1b.py", True),
        (["\\#a", "\\!b"], "!b", True),
    ],
)
def test_verdict(lines: list[str], path: str, verdict: bool | None) -> None:
    assert rules(*lines).verdict(path) is verdict


@pytest.mark.parametrize("line", ["!", "\\", "a\\"])
def test_a_line_that_is_no_pattern_is_passed_over(line: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert rules("*.py", line, "!a.py").verdict("b.py") is True
    assert "a line of a test" in caplog.text


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("*a" * 30 + "b", "a" * 250),
        ("**/a/" * 30 + "b", "a/" * 1000 + "c"),
    ],
)
def test_patterns_that_would_go_back_for_ever_do_not(line: str, path: str) -> None:
    """With a matcher that goes back, the test would not end."""
    assert rules(line, "*.c").verdict(path) is None


def test_more_rules_than_one_matcher_holds() -> None:
    several = rules("*.log", *(f"folder{number}/*.x{number}" for number in range(6000)), "!keep.log")
    assert len(several._specs) > 1
    assert several.verdict("a.log") is True
    assert several.verdict("folder17/a.x17") is True
    assert several.verdict("folder17/a.x18") is None
    assert several.verdict("keep.log") is False


def test_a_pattern_beyond_all_memory_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert rules("a?" * 40_000, "*.py").verdict("a.py") is True
    assert "passed over" in caplog.text
