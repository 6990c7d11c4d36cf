"""A definition in one file and its use in another, in every language: each is found from the name alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion.context.grammars import LANGUAGES
from tests.completion.context.repository import indexed

# language, the file that defines, its text, the name, the file that uses it, its text
CASES = [
    ("python", "a.py", "def make_total(x):\n    return x\n", "make_total", "b.py", "y = make_total(1)\n"),
    ("javascript", "a.js", "function makeTotal(x) { return x }\n", "makeTotal", "b.mjs", "const y = makeTotal(1);\n"),
    ("typescript", "a.ts", "export const makeTotal = (x: number) => x;\n", "makeTotal", "b.ts", "f(makeTotal(1));\n"),
    ("typescriptreact", "a.tsx", "export function MakeTotal() { return <a/> }\n", "MakeTotal", "b.tsx",
     "const y = <MakeTotal/>;\n"),
    ("go", "a.go", "package p\nfunc MakeTotal() {}\n", "MakeTotal", "b.go", "package p\nfunc f() { MakeTotal() }\n"),
    ("rust", "a.rs", "pub fn make_total() {}\n", "make_total", "b.rs", "fn f() { crate::make_total(); }\n"),
    ("java", "A.java", "class A { int makeTotal() { return 1; } }\n", "makeTotal", "B.java",
     "class B { int f(A a) { return a.makeTotal(); } }\n"),
    ("c", "a.c", "int make_total(int x) { return x; }\n", "make_total", "b.h", "#define TWO make_total(2)\n"),
    ("cpp", "a.cpp", "int makeTotal() { return 1; }\n", "makeTotal", "b.cc", "int g() { return ::makeTotal(); }\n"),
    ("csharp", "A.cs", "class A { int MakeTotal() { return 1; } }\n", "MakeTotal", "B.cs",
     "class B { int F(A a) => a.MakeTotal(); }\n"),
    ("ruby", "a.rb", "def make_total(x)\n  x\nend\n", "make_total", "Rakefile", "puts make_total 1\n"),
    ("php", "a.php", "<?php\nfunction makeTotal() {}\n", "makeTotal", "b.php", "<?php\necho makeTotal();\n"),
    ("shellscript", "a.sh", "make_total() {\n  echo 1\n}\n", "make_total", "run", "#!/bin/bash\nmake_total\n"),
    ("lua", "a.lua", "function make_total(x) return x end\n", "make_total", "b.lua", "print(make_total(1))\n"),
    ("sql", "a.sql", "CREATE TABLE make_total (id INT);\n", "make_total", "b.sql", "SELECT * FROM make_total;\n"),
    ("html", "a.html", '<div id="make-total"></div>\n', "make-total", "b.html", '<a href="#make-total">x</a>\n'),
    ("css", "a.css", ".make_total { color: red }\n", ".make_total", "b.html", '<a class="make_total">x</a>\n'),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_definitions_and_references(tmp_path: Path, case: tuple[str, ...]) -> None:
    language, definer, definition, name, user, use = case
    library = indexed(tmp_path, {definer: definition, user: use})
    facts = library.facts(definer)
    assert facts is not None
    assert facts.language == language
    assert [path for path, _ in library.definitions_named(name)] == [definer]
    assert user in [hit.path for hit in library.users(name.strip(".").replace("-", "_"), limit=9)]


def test_every_language_has_a_case() -> None:
    assert {case[0] for case in CASES} == LANGUAGES
