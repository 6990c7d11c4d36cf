"""The command line as a process: output, exit codes, errors as words and as JSON. The engine is a scripted one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.errors import InternalError
from model.service import launcher
from tersely import __version__
from tersely.commands import output

FAKE = "fake:1 + 2\nmore\n"


def tersely(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tersely", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
        timeout=120,
    )


@pytest.fixture(autouse=True, scope="module")
def _no_engine_is_left() -> Iterator[None]:
    yield
    launcher.stop()


def test_version() -> None:
    assert tersely("--version").stdout.strip() == f"tersely {__version__}"


def test_complete_prints_the_completion(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = \ny = 2\n")
    done = tersely("complete", f"{file}:1", "--model", FAKE)
    assert (done.stdout, done.returncode) == ("1 + 2\n", 0), done.stderr


def test_complete_as_json_from_standard_input() -> None:
    done = tersely("complete", "-:1", "--json", "--explain", "--path", "a.py", "--model", FAKE, stdin="x = \ny")
    answer = json.loads(done.stdout)
    assert answer["text"] == "1 + 2"
    assert answer["explain"]["context"][0]["path"] == "a.py"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "{",
        "日本語の文\n次",
        "\t\r\n\x0c\u2028",
        "a" * 20000,
        "😀" * 300,
        "<|endoftext|><file_sep>",
        "\x7f\x01",
    ],
)
def test_complete_answers_on_any_text(text: str) -> None:
    done = tersely("complete", "-", "--json", "--model", FAKE, stdin=text)
    assert done.returncode == 0, done.stderr
    assert "text" in json.loads(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["complete", "/no/such/file:1"], 2, "UsageError"),
        (["complete", "-:9"], 2, "UsageError"),
        (["complete", "-", "--model", "no-such-model"], 3, "UnknownModelError"),
        (["complete", "-", "--url", "ftp://x"], 2, "UsageError"),
        (["complete", "-", "--url", "http://127.0.0.1:9"], 4, "EngineUnreachableError"),
        (["model", "show", "no-such-model"], 3, "UnknownModelError"),
        (["model", "pull", "no-such-model"], 3, "UnknownModelError"),
    ],
)
def test_errors_have_exit_codes_and_hints(arguments: list[str], code: int, kind: str) -> None:
    done = tersely(*arguments, "--json", stdin="x")
    assert done.returncode == code, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["type"] == kind
    assert error["hint"]


def test_errors_are_words_for_people() -> None:
    done = tersely("complete", "/no/such/file:1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: /no/such/file" in done.stderr
    assert "hint:" in done.stderr


def test_offline_forbids_the_pull(tmp_path: Path) -> None:
    done = tersely("model", "pull", "--json", TERSELY_OFFLINE="1", TERSELY_HOME=str(tmp_path))
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["type"] == "OfflineError"


def test_model_list_as_json() -> None:
    rows = json.loads(tersely("model", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["smollm2-135m", "smollm2-135m-base", "smollm2-135m-tools"]
    assert {row["license"] for row in rows} == {"Apache-2.0"}


def test_doctor_says_what_to_do(tmp_path: Path) -> None:
    done = tersely("doctor", "--json", TERSELY_HOME=str(tmp_path))
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert findings["model"]["verdict"] == "failure"
    assert "tersely model pull" in findings["model"]["hint"]
    assert findings["privacy"]["detail"].startswith("text goes to the engine on this machine")


def test_stop_names_what_it_stopped() -> None:
    tersely("complete", "-", "--model", FAKE, stdin="x")
    stopped = json.loads(tersely("stop", "--json").stdout)
    assert [row["model"] for row in stopped] == ["fake"]
    assert tersely("stop").stdout.strip() == "No engine is running."


def test_a_defect_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.fail(InternalError("It broke.", hint="Please report it."), as_json=False) == 70
    assert "Please report it." in capsys.readouterr().err


def test_markup_in_messages_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.fail(InternalError("list[int] [red]x"), as_json=False)
    assert "list[int] [red]x" in capsys.readouterr().err
