"""What the status bar shows, when the user is warned, and the progress display."""

from __future__ import annotations

import asyncio

import pytest

from completion.api import EngineState, EngineStatus
from lsp.progress import LoadProgress
from lsp.status import Kind, StatusBoard
from model.errors import EngineBusyError, EngineUnavailableError
from tests.lsp.editor import RecordingEditor, settle

KINDS = [
    (EngineState.IDLE, Kind.NORMAL, False),
    (EngineState.STARTING, Kind.BUSY, True),
    (EngineState.PULLING, Kind.BUSY, True),
    (EngineState.LOADING, Kind.BUSY, True),
    (EngineState.READY, Kind.NORMAL, False),
    (EngineState.FAILED, Kind.ERROR, False),
]


@pytest.mark.parametrize(("state", "kind", "busy"), KINDS)
def test_kinds(state: EngineState, kind: Kind, busy: bool):
    board = StatusBoard(RecordingEditor())
    board.engine_changed(EngineStatus(state=state, hint="Do this."))
    status = board.current()
    assert (status.kind, status.busy, status.hint) == (kind, busy, "Do this.")
    assert status.message
    board.enable(False)
    assert board.current().kind is Kind.INACTIVE
    assert "tersely.enabled" in board.current().hint


def test_every_state_has_its_kind():
    assert {state for state, _, _ in KINDS} == set(EngineState)


def test_only_changes_are_sent():
    editor = RecordingEditor()
    board = StatusBoard(editor)
    for _ in range(3):
        board.enable(True)
        board.engine_changed(EngineStatus(state=EngineState.READY))
        board.answered()
    assert [status.message for status in editor.statuses] == [
        "Ready; the model is loaded when it is needed.",
        "Ready.",
    ]


def test_one_warning_an_outage_and_a_long_pause_between_two():
    now = [0.0]
    editor = RecordingEditor()
    board = StatusBoard(editor, clock=lambda: now[0])
    died = EngineUnavailableError("It died.", hint="Look.")
    board.engine_changed(EngineStatus(state=EngineState.FAILED, message="It died."))
    board.failed(died)
    now[0] = 2000.0
    board.failed(died)
    assert editor.warnings == ["It died."]
    board.answered()
    board.failed(died)
    assert editor.warnings == ["It died.", "It died. Look."]
    board.answered()
    now[0] += 10
    board.failed(died)
    assert len(editor.warnings) == 2
    board.reset()
    board.failed(died)
    assert len(editor.warnings) == 3


def test_nobody_who_switched_it_off_is_warned():
    editor = RecordingEditor()
    board = StatusBoard(editor)
    board.enable(False)
    board.failed(EngineUnavailableError("It died."))
    assert editor.warnings == []


def test_trouble_shows_until_an_answer():
    board = StatusBoard(RecordingEditor())
    board.engine_changed(EngineStatus(state=EngineState.READY))
    board.failed(EngineBusyError("Full.", hint="Wait."))
    assert (board.current().kind, board.current().hint) == (Kind.WARNING, "Wait.")
    board.answered()
    assert board.current().kind is Kind.NORMAL
    board.failed(EngineUnavailableError("It died."))
    assert board.current().kind is Kind.ERROR
    board.engine_changed(EngineStatus(state=EngineState.READY, message="Back again."))
    assert board.current().kind is Kind.NORMAL


class RecordingDisplay:
    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.refuses = False
        self.calls: list[tuple[object, ...]] = []

    async def create(self, token: str) -> None:
        await self.allowed.wait()
        if self.refuses:
            raise RuntimeError("no")

    def begin(self, token: str, title: str, message: str, percentage: int | None) -> None:
        self.calls.append(("begin", title, message, percentage))

    def report(self, token: str, message: str, percentage: int | None) -> None:
        self.calls.append(("report", message, percentage))

    def end(self, token: str, message: str) -> None:
        self.calls.append(("end", message))


def pulling(fraction: float) -> EngineStatus:
    return EngineStatus(state=EngineState.PULLING, message="98 MB", fraction=fraction)


READY = EngineStatus(state=EngineState.READY, message="Ready.")


async def test_progress_from_fetching_to_ready_without_repeating_itself():
    display = RecordingDisplay()
    display.allowed.set()
    progress = LoadProgress(display)
    statuses = [pulling(0), pulling(0.501), pulling(0.502), EngineStatus(state=EngineState.LOADING), READY, READY]
    for status in statuses:
        progress.update(status)
        await settle()
    assert display.calls == [
        ("begin", "Fetching the model", "98 MB", 0),
        ("report", "98 MB", 50),
        ("report", "", None),
        ("end", "Ready."),
    ]
    progress.update(EngineStatus(state=EngineState.LOADING, message="Again"))
    await settle()
    assert display.calls[4:] == [("begin", "Loading the model", "Again", None)]
    progress.update(READY)
    await settle()
    assert display.calls[5:] == [("end", "Ready.")]


async def test_an_editor_that_answers_after_all_is_over_shows_nothing():
    display = RecordingDisplay()
    progress = LoadProgress(display)
    progress.update(pulling(0))
    await settle()
    progress.update(READY)
    display.allowed.set()
    await settle()
    assert display.calls == []


async def test_an_editor_without_progress_is_left_alone():
    display = RecordingDisplay()
    display.refuses = True
    display.allowed.set()
    progress = LoadProgress(display)
    progress.update(pulling(0))
    await settle()
    progress.update(READY)
    await settle()
    assert display.calls == []
