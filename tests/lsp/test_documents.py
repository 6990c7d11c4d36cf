"""Documents under several roots, and documents that are no files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsp.documents import Documents, file_path


def opened(documents: Documents, uri: str) -> tuple[str, str | None]:
    document = documents.open(uri, language_id="python", version=1, text="")
    return document.path, document.root


def test_paths_are_relative_to_the_deepest_root(tmp_path: Path):
    inner = tmp_path / "inner"
    documents = Documents()
    documents.change_roots(added=[tmp_path.as_uri(), inner.as_uri()], removed=[])
    assert opened(documents, (tmp_path / "src/a.py").as_uri()) == ("src/a.py", str(tmp_path))
    assert opened(documents, (inner / "src/a b%.py").as_uri()) == ("src/a b%.py", str(inner))
    assert opened(documents, (tmp_path.parent / "else.py").as_uri()) == ("else.py", None)
    assert opened(documents, (tmp_path.parent / f"{tmp_path.name}-twin/x.py").as_uri()) == ("x.py", None)


def test_changed_roots_place_open_documents_anew(tmp_path: Path):
    documents = Documents()
    uri = (tmp_path / "pkg/a.py").as_uri()
    assert opened(documents, uri) == ("a.py", None)
    documents.change_roots(added=[tmp_path.as_uri()], removed=[])
    assert documents.get(uri).path == "pkg/a.py"
    documents.change_roots(added=[(tmp_path / "pkg").as_uri()], removed=[tmp_path.as_uri()])
    assert (documents.get(uri).path, documents.roots) == ("a.py", (str(tmp_path / "pkg"),))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("untitled:Untitled-1", "Untitled-1"),
        ("untitled:", "untitled"),
        ("vscode-notebook-cell:/home/me/book.ipynb#W0sZmlsZQ%3D%3D", "home/me/book.ipynb"),
        ("git:/home/me/a%20b.py?ref", "home/me/a b.py"),
        ("nonsense", "nonsense"),
    ],
)
def test_documents_that_are_no_files_have_a_name_and_no_root(uri: str, path: str):
    assert opened(Documents(), uri) == (path, None)
    assert file_path(uri) is None


def test_closing_evicts():
    documents = Documents()
    opened(documents, "untitled:a")
    assert documents.close("untitled:a") is not None
    assert documents.get("untitled:a") is None
    assert (len(documents), list(documents)) == (0, [])
    assert documents.close("untitled:a") is None
