"""Rules learned from two edits: exact on those, right on a third, and refused where there is no rule."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from completion.refactor.learn import Pair, as_yaml, learn, reproduces, save
from completion.refactor.tools.rewrite import Rule, load_rule, rewritten
from model.errors import RefusedError, UsageError
from tersely.cli import app

# path, two edits, and a third place with what it should become
RULES = [
    ("a.py", [("x == None\n", "x is None\n"), ("if f(y) == None:\n    a\n", "if f(y) is None:\n    a\n")],
     ("a[0] == None\n", "a[0] is None\n")),
    ("a.py", [("print('a', 1)\n", "log.info('a', 1)\n"), ("print(b)\n", "log.info(b)\n")],
     ("call(print(), print)\n", "call(log.info(), print)\n")),
    ("a.py", [("a = d['k']\n", "a = d.get('k')\n"), ("b = e()['j']\n", "b = e().get('j')\n")],
     ("f(g[\"x\"])\n", "f(g.get(\"x\"))\n")),
    ("a.py", [("foo(a, b)\n", "foo(b, a)\n"), ("foo(1, c)\n", "foo(c, 1)\n")],
     ("x = foo(y(2), 3)\n", "x = foo(3, y(2))\n")),
    ("a.py", [("os.path.join(a, b)\n", "Path(a) / b\n"), ("x = os.path.join(r, 'n')\n", "x = Path(r) / 'n'\n")],
     ("os.path.join(a, b, c)\n", "os.path.join(a, b, c)\n")),
    ("a.ts", [("const a = foo(x, true);\n", "const a = bar({ value: x });\n"),
              ("go(foo(y.z, true));\n", "go(bar({ value: y.z }));\n")],
     ("foo(1, true);\nfoo(1, false);\n", "bar({ value: 1 });\nfoo(1, false);\n")),
    ("a.go", [("package p\n\nfunc f() { errors.New(fmt.Sprintf(a)) }\n", "package p\n\nfunc f() { fmt.Errorf(a) }\n"),
              ("package p\n\nfunc f() { x := errors.New(fmt.Sprintf(b, c)) }\n",
               "package p\n\nfunc f() { x := fmt.Errorf(b, c) }\n")],
     ("package p\n\nvar x = errors.New(fmt.Sprintf(\"a\"))\n", "package p\n\nvar x = fmt.Errorf(\"a\")\n")),
    ("a.rs", [("fn f() { a.unwrap(); }\n", "fn f() { a?; }\n"),
              ("fn f() { g(b(1).unwrap()); }\n", "fn f() { g(b(1)?); }\n")],
     ("fn f() { c.d().unwrap() }\n", "fn f() { c.d()? }\n")),
    ("A.java", [('class A { boolean f() { return a.equals(""); } }\n',
                 "class A { boolean f() { return a.isEmpty(); } }\n"),
                ('class A { boolean f() { return b.c().equals(""); } }\n',
                 "class A { boolean f() { return b.c().isEmpty(); } }\n")],
     ('class A { boolean x = d.equals(""); }\n', "class A { boolean x = d.isEmpty(); }\n")),
]  # fmt: skip

NO_RULES = [
    ("a.py", [("x = 1\n", "x = 2\n"), ("y = 5\n", "y = 9\n")], "no simple rule"),
    ("a.py", [("x == None\n", "x is None\n")], "but one edit"),
    ("a.py", [("x == None\n", "x is None\n"), ("f(\n", "g(\n")], "does not parse"),
    ("a.py", [("print(a)\n", "log(a)\n"), ("x == None\n", "x is None\n")], "no simple rule"),
    ("a.txt", [("a\n", "b\n"), ("a\n", "b\n")], "one known language"),
]


def pairs(path: str, edits: list[tuple[str, str]]) -> list[Pair]:
    return [Pair(path=path, before=before, after=after) for before, after in edits]


@pytest.mark.parametrize(("path", "edits", "third"), RULES)
def test_two_edits_make_a_rule(path: str, edits: list[tuple[str, str]], third: tuple[str, str]) -> None:
    rule = learn(pairs(path, edits))
    assert reproduces(rule, pairs(path, edits))
    assert rewritten(third[0], rule.language, rule.config, rule.fix)[0] == third[1]


def test_both_edits_in_one_file() -> None:
    before = "def f(x, y):\n    if x == None:\n        return y\n    return y == None\n"
    rule = learn(pairs("a.py", [(before, before.replace("== None", "is None"))]))
    assert rule.fix == "$A is None"


@pytest.mark.parametrize(("path", "edits", "reason"), NO_RULES)
def test_what_has_no_rule_is_refused(path: str, edits: list[tuple[str, str]], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        learn(pairs(path, edits))


def test_a_rule_is_kept_and_read_again(tmp_path: Path) -> None:
    rule = learn(pairs("a.py", RULES[0][1]), rule_id="none")
    file = save(rule, tmp_path)
    assert file == tmp_path / ".tersely/rules/none.yml"
    assert load_rule(file) == rule
    assert save(rule, tmp_path) == file
    with pytest.raises(RefusedError, match="another rule"):
        save(Rule(id="none", language="python", fix="x", config=rule.config), tmp_path)


@pytest.mark.parametrize("link", [".tersely", ".tersely/rules", ".tersely/rules/none.yml"])
def test_a_rule_is_not_kept_where_a_link_of_the_workspace_leads(tmp_path: Path, link: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(outside)
    if not link.endswith(".yml"):
        outside.mkdir()
    with pytest.raises(RefusedError, match="leads elsewhere"):
        save(learn(pairs("a.py", RULES[0][1]), rule_id="none"), root)
    assert not outside.exists() or not list(outside.iterdir())


@pytest.mark.parametrize(
    "text", ["- a", "rule: {pattern: a}\nlanguage: python", "{", "rule: {pattern: a}\nfix: b\nlanguage: x"]
)
def test_files_that_are_no_rules(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rule.yml"
    file.write_text(text)
    with pytest.raises(UsageError):
        load_rule(file)


def test_learning_from_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERSELY_HOME", str(tmp_path / "home"))
    root = tmp_path / "p"
    root.mkdir()

    def git(*arguments: str) -> None:
        named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *named, *arguments], cwd=root, check=True)

    before = "def f(x):\n    return x == None\n"
    for name in "abc":
        (root / f"{name}.py").write_text(before.replace("x", name))
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    for name in "ab":
        file = root / f"{name}.py"
        file.write_text(file.read_text().replace("==", "is"))
    git("commit", "-q", "-a", "-m", "second")
    result = CliRunner().invoke(
        app, ["rule", "learn", "--from-git", "HEAD", "--name", "none", "--save", "--apply", str(root)]
    )
    assert result.exit_code == 0, result
    assert "pattern: $A == None" in result.stdout
    assert (root / "c.py").read_text() == "def f(c):\n    return c is None\n"
    assert as_yaml(load_rule(root / ".tersely/rules/none.yml")) in result.stdout
    missing = CliRunner().invoke(app, ["rule", "learn", "--from-git", "nothing", str(root)])
    assert isinstance(missing.exception, UsageError)
