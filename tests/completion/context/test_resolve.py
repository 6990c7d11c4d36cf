"""Import in a file in, the file it means out; and names followed to where they are defined."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion.context.resolve import locate, module_key, resolve
from tests.completion.context.repository import indexed

PATHS = [
    "src/pkg/__init__.py", "src/pkg/a.py", "src/pkg/sub/__init__.py", "src/pkg/sub/b.py", "web/x/index.ts", "web/y.ts",
    "java/com/foo/Bar.java", "rs/src/lib.rs", "rs/src/net/mod.rs", "rs/src/net/tcp.rs", "c/include/io/file.h",
    "php/App/Models/User.php", "rb/lib/tool/run.rb", "other/a.py", "go/util/text.go",
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "module", "found"),
    [
        ("src/pkg/sub/b.py", ".", ["src/pkg/sub/__init__.py"]),
        ("src/pkg/sub/b.py", "..a", ["src/pkg/a.py"]),
        ("src/pkg/a.py", "pkg.sub.b", ["src/pkg/sub/b.py"]),
        ("src/pkg/sub/b.py", "a", ["src/pkg/a.py", "other/a.py"]),
        ("web/y.ts", "./x", ["web/x/index.ts"]),
        ("web/x/index.ts", "../y", ["web/y.ts"]),
        ("web/x/index.ts", "../y.js", ["web/y.ts"]),
        ("java/com/foo/Main.java", "com.foo.Bar", ["java/com/foo/Bar.java"]),
        ("rs/src/main.rs", "crate::net::tcp", ["rs/src/net/tcp.rs"]),
        ("rs/src/main.rs", "crate::net", ["rs/src/net/mod.rs"]),
        ("c/main.c", "io/file.h", ["c/include/io/file.h"]),
        ("php/index.php", "App.Models.User", ["php/App/Models/User.php"]),
        ("rb/main.rb", "tool/run", ["rb/lib/tool/run.rb"]),
        ("src/pkg/a.py", "numpy", []),
        ("src/pkg/a.py", "", []),
    ],
)
def test_locate(tmp_path: Path, path: str, module: str, found: list[str]) -> None:
    library = indexed(tmp_path, dict.fromkeys(PATHS, "x = 1\n"))
    assert locate(library, path, module) == found


@pytest.mark.parametrize(
    ("path", "key"),
    [("a/b.py", "a/b"), ("a/__init__.py", "a"), ("index.ts", "index"), ("a/b.d.ts", "a/b"), ("src/mod.rs", "src")],
)
def test_module_key(path: str, key: str) -> None:
    assert module_key(path) == key


FILES = {
    "p/__init__.py": "from .api import *\nfrom .core import Thing as Renamed\n",
    "p/api.py": "from .core import helper\nfrom .loop import around\n",
    "p/core.py": "class Thing: pass\ndef helper(): pass\n",
    "p/loop.py": "from .api import around\n",
    "p/round.py": "from .round import round\nfrom .trip import round as trip\n",
    "p/own.py": "from . import own\n",
    "p/trip.py": "from .round import trip as round\n",
}


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [
        ("p/core.py", "Thing", "p/core.py Thing"),
        ("p/__init__.py", "Renamed", "p/core.py Thing"),
        ("p/__init__.py", "helper", "p/core.py helper"),
        ("p/api.py", "around", ""),
        ("p/api.py", "nothing", ""),
        ("p/round.py", "round", ""),
        ("p/round.py", "trip", ""),
        ("p/trip.py", "round", ""),
        ("p/own.py", "own", ""),
    ],
)
def test_names_are_followed_through_files(tmp_path: Path, path: str, name: str, found: str) -> None:
    places = resolve(indexed(tmp_path, FILES), path, name)
    assert " ".join(f"{place} {one.name}" for place, one in places) == found
