"""Places on a command line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from editors.headless.target import offset_at, place_of, read_target
from model.errors import UsageError

TEXT = "ab\ncdé\r\n\n😀x\rlast"


@pytest.mark.parametrize(
    ("line", "column", "behind"),
    [
        (1, 1, "ab"),
        (1, 3, "\n"),
        (1, None, "\n"),
        (2, 3, "é"),
        (2, None, "\r"),
        (3, None, "\n"),
        (4, 2, "x"),
        (5, None, ""),
    ],
)
def test_offset_and_place(line: int, column: int | None, behind: str) -> None:
    offset = offset_at(TEXT, line, column)
    assert TEXT[offset:].startswith(behind)
    if column is not None:
        assert place_of(TEXT, offset) == (line, column)


@pytest.mark.parametrize(("line", "column"), [(0, 1), (6, 1), (1, 0), (1, 4)])
def test_places_that_do_not_exist_are_named(line: int, column: int) -> None:
    with pytest.raises(UsageError, match=r"There is no (line|column) \d"):
        offset_at(TEXT, line, column)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfx", "x"),
        ("xé".encode("utf-16"), "xé"),
        ("xé".encode("latin-1"), "xé"),
        ("xé".encode(), "xé"),
        (b"", ""),
    ],
)
def test_any_encoding_is_read(tmp_path: Path, data: bytes, text: str) -> None:
    file = tmp_path / "f.txt"
    file.write_bytes(data)
    assert read_target(str(file)).text == text


def test_a_name_with_colons_and_digits(tmp_path: Path) -> None:
    file = tmp_path / "a:1"
    file.write_text("one\ntwo\n")
    assert read_target(str(file)).offset == 8
    assert read_target(f"{file}:2").offset == 7
    assert read_target(f"{file}:2:1").offset == 4


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"x = \ny")

    monkeypatch.setattr(sys, "stdin", Stdin)
    target = read_target("-:1", shown_path="a.py")
    assert (target.offset, target.path) == (4, "a.py")


def test_the_path_is_relative_to_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "m.py").write_text("x")
    assert read_target(str(tmp_path / "pkg" / "m.py")).path == "pkg/m.py"


@pytest.mark.parametrize("make", ["missing", "folder", "binary"])
def test_what_is_no_text_file_is_refused(tmp_path: Path, make: str) -> None:
    file = tmp_path / "f"
    if make == "folder":
        file.mkdir()
    if make == "binary":
        file.write_bytes(b"a\0b")
    with pytest.raises(UsageError) as caught:
        read_target(str(file))
    assert caught.value.hint
