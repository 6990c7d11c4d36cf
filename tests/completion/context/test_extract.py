"""Source text in, definitions and imports out, in every language that has a grammar."""

from __future__ import annotations

import pytest

from completion.context.extract import extract
from completion.context.grammars import LANGUAGES
from completion.context.imports import read_imports

# language, source, definitions as `kind owner.name`, imports as `module|name|alias`
CASES = [
    (
        "python",
        "import os.path as p\nfrom .a import (b as c,\n    d)\nfrom x import *\nLIMIT = 3\n"
        "class A(B):\n    size: int = 0\n    def go(self, n):\n        self.n = n\n        local = 1\n"
        "        def inner(): pass\n@wraps\ndef f(x):\n    return x\n",
        ["constant LIMIT", "class A", "field A.size", "method A.go", "field A.n", "function f"],
        ["os.path||p", ".a|b|c", ".a|d|d", "x|*|"],
    ),
    (
        "javascript",
        "import A, {b as c} from './x';\nconst q = require('./y');\nexport const LIMIT = 3;\n"
        "export class K { go(n) { const inner = 1; return n } }\nfunction f(a) { return a }\n",
        ["constant q", "constant LIMIT", "class K", "method K.go", "function f"],
        ["./x|b|c", "./x|default|A", "./y||q"],
    ),
    (
        "typescript",
        "import * as ns from 'm';\nexport interface I { a: string; go(x: number): void }\ntype T = I | null\n"
        "enum E { A }\nexport abstract class C { private n = 1; abstract run(): void; stop() {} }\n",
        ["class I", "field I.a", "method I.go", "type T", "class E", "class C", "field C.n", "method C.run",
         "method C.stop"],
        ["m||ns"],
    ),
    ("typescriptreact", "export function App() { return <div/> }\n", ["function App"], []),
    (
        "go",
        'package p\nimport (\n\t"fmt"\n\tx "a/b"\n)\nconst N = 1\ntype S struct { A int }\n'
        "func (s *S) Go(n int) error { return nil }\nfunc F() {}\n",
        ["constant N", "class S", "field S.A", "method S.Go", "function F"],
        ["fmt||fmt", "a/b||x"],
    ),
    (
        "rust",
        "use crate::a::{B, c::{self, D as E}};\npub struct S { pub x: u8 }\nimpl S { pub fn go(&self) {} }\n"
        "trait T { fn t(&self); }\npub fn f() {}\nconst N: u8 = 1;\n",
        ["class S", "field S.x", "method S.go", "class T", "method T.t", "function f", "constant N"],
        ["crate::a|B|B", "crate::a|c|c", "crate::a::c|D|E"],
    ),
    (
        "java",
        "import a.b.C;\nimport static a.D.*;\npublic class K { private int n; public int go(int a) { return a; } }\n",
        ["class K", "field K.n", "method K.go"],
        ["a.b|C|C", "a.D|*|"],
    ),
    (
        "c",
        '#include "a/b.h"\n#define N 3\nstruct S { int x; };\n'
        "int f(int a) { return a; }\nchar *g(void) { return 0; }\n",
        ["constant N", "class S", "field S.x", "function f", "function g"],
        ["a/b.h|*|"],
    ),
    (
        "cpp",
        "#include <v>\nnamespace n { class C { int x; void go(); }; }\nvoid C::go() { }\nint f() { return 1; }\n",
        ["module n", "class n.C", "field C.x", "method C.go", "method C.go", "function f"],
        ["v|*|"],
    ),
    (
        "csharp",
        "using A.B;\nusing X = A.C;\nnamespace N { class K { public int P { get; set; } "
        "int Go(int a) { return a; } } }\n",
        ["class K", "field K.P", "method K.Go"],
        ["A.B|*|", "A|C|X"],
    ),
    (
        "ruby",
        "require_relative 'a/b'\nmodule M\n  N = 1\n  class K\n    def go(x)\n      x\n    end\n  end\nend\n",
        ["class M", "constant M.N", "class M.K", "method K.go"],
        ["a/b|*|"],
    ),
    (
        "php",
        "<?php\nuse App\\Models\\{User, Post as P};\n"
        "class K { private $n; function go($a) { return $a; } }\nfunction f() {}\n",
        ["class K", "field K.n", "method K.go", "function f"],
        ["App.Models|User|User", "App.Models|Post|P"],
    ),
    ("shellscript", "source ./lib.sh\nN=1\ngo() {\n  echo $1\n}\n", ["constant N", "function go"], ["./lib.sh|*|"]),
    (
        "lua",
        'local m = require("a.b")\nlocal function f(x) return x end\nfunction m.go(y) return y end\n',
        ["constant m", "function f", "function go"],
        ["a.b|*|"],
    ),
    ("sql", "CREATE TABLE t (id INT, name TEXT);\n", ["class t", "field t.id", "field t.name"], []),
    ("html", '<a id="top" href="x.css"></a>\n', ["constant top"], ["x.css|*|"]),
    ("css", '@import "a.css";\n.big { --w: 1px; color: red }\n', ["class .big", "constant .big.--w"], ["a.css|*|"]),
]  # fmt: skip


@pytest.mark.parametrize(("language", "source", "definitions", "imports"), CASES, ids=[case[0] for case in CASES])
def test_extract(language: str, source: str, definitions: list[str], imports: list[str]) -> None:
    facts = extract(source, language)
    found = [
        f"{one.kind} {one.owner}.{one.name}" if one.owner else f"{one.kind} {one.name}" for one in facts.definitions
    ]
    assert found == definitions
    assert [f"{one.module}|{one.name}|{one.alias}" for one in facts.imports] == imports


def test_every_language_has_a_case() -> None:
    assert {case[0] for case in CASES} == LANGUAGES


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("source", ["", "\n\n", "def class ( {{{ import from", "\0\ud800", "é" * 50 + "\n)"])
def test_broken_code_raises_nothing(language: str, source: str) -> None:
    extract(source, language)


def test_text_without_a_grammar_has_no_definitions() -> None:
    assert extract("a = 1\n", "toml").definitions == ()


@pytest.mark.parametrize(
    ("language", "source", "shown"),
    [
        (
            "python",
            "class A:\n    @cached\n    def long(\n        self,\n        n: int,\n    ) -> str:\n"
            '        """Make it long.\n\n        More.\n        """\n        a = 1\n        return a\n',
            '    @cached\n    def long(\n        self,\n        n: int,\n    ) -> str:\n        """Make it long."""',
        ),
        ("python", "class A:\n    def short(self):\n        return 1\n", "    def short(self):\n        return 1"),
        (
            "go",
            "package p\n\n// Run runs it.\n// Really.\nfunc Run() {\n\ta()\n\tb()\n\tc()\n\td()\n\te()\n\tf()\n}\n",
            "// Run runs it.\nfunc Run() {",
        ),
    ],
)
def test_a_snippet_is_the_signature_and_the_first_sentence(language: str, source: str, shown: str) -> None:
    assert extract(source, language).definitions[-1].text == shown


BODY = "".join(f"    a({number});\n" for number in range(8))
LINES = BODY.replace(";", "")
# language, source of something called total that is too long to be shown whole, what is shown of it
SIGNATURES = [
    ("python", f'def total(items: list[int], tax=0) -> float:\n    """Sum it up.\n\n    More.\n    """\n{LINES}',
     'def total(items: list[int], tax=0) -> float:\n    """Sum it up."""'),
    ("javascript", f"/**\n * Sum it up.\n */\nexport function total(items, tax = 0) {{\n{BODY}}}\n",
     "// Sum it up.\nexport function total(items, tax = 0) {"),
    ("typescript", f"/** Sum it up. */\nexport function total(items: number[]): number {{\n{BODY}}}\n",
     "// Sum it up.\nexport function total(items: number[]): number {"),
    ("typescriptreact", f"// Sum it up.\nexport function Total(props: Props) {{\n{BODY}}}\n",
     "// Sum it up.\nexport function Total(props: Props) {"),
    ("go", f"package p\n\n// Total sums it up.\nfunc Total(items []int) (float64, error) {{\n{BODY}}}\n",
     "// Total sums it up.\nfunc Total(items []int) (float64, error) {"),
    ("rust", f"/// Sum it up.\npub fn total(items: &[u8]) -> f64 {{\n{BODY}}}\n",
     "// Sum it up.\npub fn total(items: &[u8]) -> f64 {"),
    ("java", f"class K {{\n  /** Sum it up. */\n  @Override\n  public int total(List<E> items) throws F {{\n"
     f"{BODY}  }}\n}}\n",
     "  // Sum it up.\n  @Override\n  public int total(List<E> items) throws F {"),
    ("c", f"/* Sum it up. */\nstatic double total(const int *items,\n                    double tax)\n{{\n{BODY}}}\n",
     "// Sum it up.\nstatic double total(const int *items,\n                    double tax)\n{"),
    ("cpp", f"// Sum it up.\ntemplate <class T>\ndouble total(const std::vector<T>& items) {{\n{BODY}}}\n",
     "// Sum it up.\ntemplate <class T>\ndouble total(const std::vector<T>& items) {"),
    ("csharp", f"class K {{\n  /// <summary>Sum it up.</summary>\n  public int Total(List<int> items)\n  {{\n"
     f"{BODY}  }}\n}}\n",
     "  // Sum it up.\n  public int Total(List<int> items)\n  {"),
    ("ruby", f"# Sum it up.\ndef total(items, tax: 0)\n{LINES}end\n", "# Sum it up.\ndef total(items, tax: 0)"),
    ("php", f"<?php\n/** Sum it up. */\nfunction total(array $items): float {{\n{BODY}}}\n",
     "// Sum it up.\nfunction total(array $items): float {"),
    ("shellscript", "# Sum it up.\ntotal() {\n" + "  a\n" * 8 + "}\n", "# Sum it up.\ntotal() {"),
    ("lua", f"-- Sum it up.\nlocal function total(items, tax)\n{LINES}end\n",
     "-- Sum it up.\nlocal function total(items, tax)"),
    ("sql", "CREATE TABLE total (\n  id INT,\n  name TEXT\n);\n", "CREATE TABLE total (\n  id INT,\n  name TEXT\n);"),
    ("html", '<div id="total">\n</div>\n', '<div id="total">'),
    ("css", "/* Sum it up. */\n.total {\n" + "  --a: 1px;\n" * 8 + "}\n", "/* Sum it up. */\n.total {"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "source", "shown"), SIGNATURES, ids=[case[0] for case in SIGNATURES])
def test_signatures_stand_with_one_sentence_in_every_language(language: str, source: str, shown: str) -> None:
    (one,) = [one for one in extract(source, language).definitions if "total" in one.name.lower()]
    assert one.text == shown


def test_every_language_has_a_signature() -> None:
    assert {case[0] for case in SIGNATURES} == LANGUAGES


@pytest.mark.parametrize("language", [*sorted(LANGUAGES), "toml"])
def test_a_statement_that_is_no_import_binds_nothing(language: str) -> None:
    assert read_imports(language, "???") == ()
