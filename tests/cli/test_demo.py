"""`tersely demo`, over a scripted engine: what an editor would show is told from what it would not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from completion.service import EngineCompleter
from model.errors import UsageError
from model.fake import FakeEngine
from tersely.commands import demo

PLACE = '[[cursor]]\nfile = "a.py"\nafter = "y = "\ncut = "2"\n'


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str, engine: FakeEngine) -> str:
    monkeypatch.setattr(demo, "connect", lambda _: EngineCompleter(engine))
    app = typer.Typer()
    app.command()(demo.command)
    return CliRunner().invoke(app, [str(folder), *options], catch_exceptions=False).output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text("x = 1\ny = 2\nprint(x, y)\n")
    (tmp_path / "demo.toml").write_text(PLACE)
    return tmp_path


@pytest.mark.parametrize(
    ("answer", "logprob", "shown"), [("3\n", -0.001, True), ("3\n", -9.0, False), ("\n", 0, False)]
)
def test_what_an_editor_would_hold_back_is_said(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answer: str, logprob: float, shown: bool
) -> None:
    engine = FakeEngine(answer, logprob=logprob)
    [row] = json.loads(run(monkeypatch, folder, "--json", engine=engine))
    assert (row["text"], row["was"], row["file"], row["shown"]) == (answer.strip(), "2", "a.py", shown)
    text = run(monkeypatch, folder, engine=engine)
    assert f"y = {answer.strip() or '∅'}" in text
    assert ("An editor shows nothing here" in text) is (bool(answer.strip()) and not shown)
    assert f"nothing shown at {int(not shown)}" in " ".join(text.split())


def test_the_picture_is_saved(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    picture = folder / "demo.svg"
    run(monkeypatch, folder, "--svg", str(picture), engine=FakeEngine("3\n"))
    assert "tersely&#160;demo" in picture.read_text()
    assert "@font-face" not in picture.read_text()


@pytest.mark.parametrize("toml", ["", "[[cursor]]\n", PLACE.replace('"y = "', '"z = "'), "["])
def test_a_demo_that_does_not_fit_its_files_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path, toml: str
) -> None:
    (folder / "demo.toml").write_text(toml)
    with pytest.raises(UsageError) as caught:
        run(monkeypatch, folder, engine=FakeEngine(""))
    assert caught.value.hint
