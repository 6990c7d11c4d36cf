"""The host over a scripted completer: supersede, stale, cancel, loading, failures, live settings."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest

from completion.api import CompletionRequest, EngineState, EngineStatus, Level, Suggestion, Trigger
from completion.fake import FakeCompleter
from completion.settings import CompletionSettings
from lsp import host as host_module
from lsp.host import Query
from lsp.positions import Place
from lsp.settings import Settings, parse
from lsp.status import Kind
from model.api import Feedback
from model.errors import EngineBusyError, EngineUnavailableError, UnknownModelError
from tests.lsp.editor import URI, Bench, settle, texts

QUIET = Settings(acceptance_log=False)


async def test_a_suggestion():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    _, place = bench.open("a = ‸\nb")
    assert texts(await bench.ask(place)) == ["x"]
    [request] = bench.completer.requests
    assert (request.text, request.offset, request.path, request.language_id) == ("a = \nb", 4, "one", "python")


async def test_a_newer_request_supersedes_the_older_of_its_document_only():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    _, place = bench.open("a‸")
    bench.open("b‸", uri="untitled:two")
    older, other, newer = bench.ask(place), bench.ask(place, uri="untitled:two"), None
    await settle()
    newer = bench.ask(place)
    await settle()
    assert (older.done(), newer.done(), other.done()) == (True, False, False)
    assert older.result() is None
    assert bench.completer.cancelled == 1
    bench.completer.gate.set()
    assert texts(await newer) == ["x"]
    assert texts(await other) == ["x"]


async def test_the_menu_and_ghost_text_do_not_supersede_each_other():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    document, place = bench.open("a‸")
    ghost = bench.ask(place)
    menu = Query(uri=URI, place=place, trigger=Trigger.AUTOMATIC, for_menu=True)
    first = asyncio.ensure_future(bench.host.suggest(menu))
    await settle()
    second = asyncio.ensure_future(bench.host.suggest(menu))
    await settle()
    assert (ghost.done(), first.done(), second.done()) == (False, True, False)
    bench.host.changed(document)
    await settle()
    assert (ghost.result(), second.result(), bench.completer.cancelled) == (None, None, 3)


async def test_a_change_while_waiting_makes_the_answer_stale_and_stops_the_work():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    document, place = bench.open("a‸")
    waiting = bench.ask(place)
    await settle()
    document.buffer.replace(place, place, "b")
    bench.host.changed(document)
    assert await waiting is None
    assert bench.completer.cancelled == 1


async def test_an_answer_to_a_text_that_changed_without_notice_is_dropped():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    document, place = bench.open("a‸")
    waiting = bench.ask(place)
    await settle()
    document.buffer.replace_all("other")
    bench.completer.gate.set()
    assert await waiting is None
    assert bench.completer.cancelled == 0


async def test_an_answer_to_a_document_that_was_closed_and_opened_again_is_dropped():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    _, place = bench.open("a‸")
    waiting = bench.ask(place)
    await settle()
    bench.host.close(URI)
    bench.open("a‸")
    bench.completer.gate.set()
    assert await waiting is None
    assert bench.completer.closed_documents == ["one"]


async def test_an_answer_to_a_document_that_was_opened_anew_without_closing_is_dropped():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    _, place = bench.open("a‸")
    waiting = bench.ask(place)
    await settle()
    bench.open("b‸")
    bench.completer.gate.set()
    assert await waiting is None


async def test_cancelling_the_request_reaches_the_completer():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    _, place = bench.open("a‸")
    waiting = bench.ask(place)
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await settle()
    assert bench.completer.cancelled == 1


async def test_automatic_gives_one_and_invoked_gives_several():
    class Generous(FakeCompleter):
        async def complete(self, request: CompletionRequest) -> list[Suggestion]:
            return await super().complete(dataclasses.replace(request, trigger=Trigger.INVOKED))

    bench = Bench([Generous(lambda _: ["x", "y", "z"])])
    await bench.start()
    _, place = bench.open("a‸")
    assert texts(await bench.ask(place)) == ["x"]
    assert texts(await bench.ask(place, trigger=Trigger.INVOKED)) == ["x", "y", "z"]


async def test_suggestions_without_an_id_get_one():
    class Nameless(FakeCompleter):
        async def complete(self, request: CompletionRequest) -> list[Suggestion]:
            return [dataclasses.replace(one, suggestion_id="") for one in await super().complete(request)]

    bench = Bench([Nameless("x")])
    await bench.start()
    _, place = bench.open("a‸")
    answer = await bench.ask(place)
    assert len(answer.suggestions[0].suggestion_id) == 32


@pytest.mark.parametrize("state", [EngineState.STARTING, EngineState.PULLING, EngineState.LOADING])
async def test_while_the_engine_loads_the_answer_is_empty_at_once(state: EngineState):
    bench = Bench([FakeCompleter("x", state=state)])
    await bench.start()
    _, place = bench.open("a‸")
    assert await bench.ask(place) is None
    assert bench.completer.requests == []
    assert bench.editor.statuses[-1].kind is Kind.BUSY
    bench.completer.set_status(EngineStatus(state=EngineState.READY))
    assert texts(await bench.ask(place)) == ["x"]


async def test_an_idle_engine_is_woken_by_opening_and_by_asking():
    bench = Bench([FakeCompleter("x", state=EngineState.IDLE)])
    await bench.start()
    assert bench.completer.warm_ups == 0
    _, place = bench.open("a‸")
    assert bench.completer.warm_ups == 1
    assert await bench.ask(place) is None
    assert bench.completer.warm_ups == 2


async def test_documents_opened_before_the_completer_was_there_wake_it():
    bench = Bench([FakeCompleter("x", state=EngineState.IDLE)])
    _, place = bench.open("a‸")
    assert await bench.ask(place) is None
    await bench.start()
    assert bench.completer.warm_ups == 1


async def test_a_failed_engine_is_tried_again_ever_more_rarely(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(host_module.time, "monotonic", lambda: now[0])
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    _, place = bench.open("a‸")
    completer = bench.completer
    tries = []
    completer.warm_up = lambda: tries.append(now[0])  # type: ignore[method-assign]
    completer.set_status(EngineStatus(state=EngineState.FAILED, message="It crashed."))
    for _ in range(40):
        before = len(tries)
        await bench.ask(place)
        if len(tries) > before:
            completer.set_status(EngineStatus(state=EngineState.STARTING))
            completer.set_status(EngineStatus(state=EngineState.FAILED, message="It crashed."))
        now[0] += 0.5
    assert [round(then - 100, 1) for then in tries] == [1.0, 3.0, 7.0, 15.0]
    assert bench.editor.warnings == ["It crashed."]


async def test_the_engines_death_gives_empty_answers_and_one_warning():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    _, place = bench.open("a‸")
    bench.completer.error = EngineUnavailableError("The engine died.", hint="Run `tersely doctor`.")
    for _ in range(5):
        assert await bench.ask(place) is None
    assert bench.editor.warnings == ["The engine died. Run `tersely doctor`."]
    status = bench.editor.statuses[-1]
    assert (status.kind, status.message, status.hint) == (Kind.ERROR, "The engine died.", "Run `tersely doctor`.")
    bench.completer.error = None
    assert texts(await bench.ask(place)) == ["x"]
    assert bench.editor.statuses[-1].kind is Kind.NORMAL


async def test_a_busy_engine_is_a_status_and_no_warning():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    _, place = bench.open("a‸")
    bench.completer.error = EngineBusyError("The queue is full.", hint="Wait.")
    assert texts(await bench.ask(place)) == []
    assert bench.editor.warnings == []
    assert bench.editor.statuses[-1].kind is Kind.WARNING


async def test_a_defect_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture):
    def broken(_: CompletionRequest) -> list[str]:
        raise ZeroDivisionError

    bench = Bench([FakeCompleter(broken)])
    await bench.start()
    _, place = bench.open("a‸")
    assert texts(await bench.ask(place)) == []
    assert bench.editor.warnings == []
    assert "ZeroDivisionError" in caplog.text


async def test_a_model_that_cannot_be_had_is_one_warning_and_an_error_status():
    bench = Bench([])

    async def refuse(_: CompletionSettings) -> FakeCompleter:
        raise UnknownModelError("There is no model x.", hint="See `tersely model list`.")

    bench.host._connect = refuse
    await bench.start()
    _, place = bench.open("a‸")
    assert await bench.ask(place) is None
    assert bench.editor.warnings == ["There is no model x. See `tersely model list`."]
    assert bench.editor.statuses[-1].kind is Kind.ERROR


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(dataclasses.replace(QUIET, enabled=False), id="switched off"),
        pytest.param(dataclasses.replace(QUIET, disabled_languages=("python",)), id="language"),
        pytest.param(dataclasses.replace(QUIET, max_file_size=3), id="size"),
    ],
)
async def test_documents_that_are_not_served(settings: Settings):
    bench = Bench([FakeCompleter("x")])
    await bench.start(settings)
    _, place = bench.open("abcd‸")
    assert await bench.ask(place) is None
    assert bench.completer.requests == []
    assert bench.completer.warm_ups == 0
    bench.host.apply(QUIET)
    assert texts(await bench.ask(place)) == ["x"]


async def test_switching_off_ends_what_is_under_way_and_shows():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    _, place = bench.open("a‸")
    waiting = bench.ask(place)
    await settle()
    bench.host.apply(dataclasses.replace(QUIET, enabled=False))
    assert await waiting is None
    assert bench.editor.statuses[-1].kind is Kind.INACTIVE


async def test_a_new_level_goes_to_the_completer_and_a_new_model_replaces_it():
    first, second = FakeCompleter("x"), FakeCompleter("y")
    bench = Bench([first, second])
    await bench.start()
    _, place = bench.open("a‸")
    loud = dataclasses.replace(QUIET.completion, level=Level.EAGER)
    bench.host.apply(dataclasses.replace(QUIET, completion=loud))
    await settle()
    assert (first.level, len(bench.connected)) == (Level.EAGER, 1)
    bench.host.apply(dataclasses.replace(QUIET, completion=dataclasses.replace(loud, model="other")))
    await settle()
    assert first.closed
    assert [one.model for one in bench.connected] == [CompletionSettings().model, "other"]
    assert texts(await bench.ask(place)) == ["y"]
    first.set_status(EngineStatus(state=EngineState.FAILED, message="Too late."))
    assert bench.editor.warnings == []


async def test_each_problem_of_the_settings_is_shown_once():
    bench = Bench([FakeCompleter("x")])
    wrong = {"maxTokens": 0, "level": "loud", "acceptanceLog": False}
    for _ in range(3):
        bench.host.apply(*parse(wrong))
    assert len(bench.editor.warnings) == 2
    bench.host.apply(*parse({**wrong, "level": "shrill"}))
    assert len(bench.editor.warnings) == 3
    await settle()
    assert len(bench.connected) == 1


async def test_half_characters_are_replaced_and_offsets_stay():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    _, place = bench.open("'\ud83d' + ‸")
    assert texts(await bench.ask(place)) == ["x"]
    [request] = bench.completer.requests
    assert (request.text, request.offset) == ("'\ufffd' + ", 6)


async def test_a_selected_item_goes_along_as_offsets():
    bench = Bench([FakeCompleter("!")])
    await bench.start()
    _, place = bench.open("é\ncon‸")
    query = Query(uri=URI, place=place, trigger=Trigger.AUTOMATIC, selected=(Place(1, 0), Place(1, 3), "console"))
    answer = await bench.host.suggest(query)
    assert (answer.selected.start, answer.selected.end, answer.selected.text) == (2, 5, "console")
    assert texts(answer) == ["console!"]


async def test_questions_about_unknown_documents_have_no_answer():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    assert await bench.ask(Place(0, 0), uri="untitled:never opened") is None
    bench.host.close("untitled:never opened")
    assert bench.completer.closed_documents == []


async def test_closing_the_host_ends_everything_and_can_be_repeated():
    bench = Bench([FakeCompleter("x")])
    await bench.start()
    bench.completer.gate.clear()
    _, place = bench.open("a‸")
    waiting = bench.ask(place)
    await settle()
    await bench.host.aclose()
    await bench.host.aclose()
    assert await waiting is None
    assert bench.completer.closed
    assert await bench.ask(place) is None


class HearingCompleter(FakeCompleter):
    """A completer that notes feedback, and whose engine is gone after the first."""

    def __init__(self) -> None:
        super().__init__("x")
        self.heard: list[Feedback] = []

    async def hear(self, feedback: Feedback) -> None:
        self.heard.append(feedback)
        if len(self.heard) > 1:
            raise EngineUnavailableError("gone", hint="Wait.")


async def test_the_engine_hears_of_suggestions_while_there_is_a_log(caplog: pytest.LogCaptureFixture):
    completer = HearingCompleter()
    bench = Bench([completer])
    await bench.start(Settings())
    _, place = bench.open("a‸")
    answer = await bench.ask(place)
    assert answer is not None
    [suggestion] = answer.suggestions
    bench.host.sent(suggestion, URI)
    bench.host.offers.shown(suggestion.suggestion_id)
    bench.host.offers.accepted(suggestion.suggestion_id)
    await settle()
    assert [(one.shown, one.accepted) for one in completer.heard] == [(1, 0), (0, 1)]
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    bench.host.apply(QUIET)
    bench.host.sent(dataclasses.replace(suggestion, suggestion_id="quiet"), URI)
    bench.host.offers.shown("quiet")
    await settle()
    assert len(completer.heard) == 2
    await bench.host.aclose()


class FollowingCompleter(FakeCompleter):
    """A completer that notes what it is told of the workspace."""

    def __init__(self) -> None:
        super().__init__("x")
        self.told: list[tuple[object, ...]] = []

    def set_roots(self, roots: Sequence[str]) -> None:
        self.told.append(("roots", *roots))

    def file_changed(self, path: str, root: str | None, text: str, language_id: str | None) -> None:
        self.told.append(("changed", path, root, text, language_id))

    def file_saved(self, path: str, root: str | None) -> None:
        self.told.append(("saved", path, root))

    def files_changed(self, paths: Sequence[str], root: str) -> None:
        self.told.append(("files", *paths, root))

    def file_closed(self, path: str, root: str | None) -> None:
        self.told.append(("closed", path, root))


async def test_a_completer_that_follows_the_workspace_is_told_of_it():
    completer = FollowingCompleter()
    bench = Bench([completer])
    bench.host.documents.change_roots(added=["file:///work"], removed=[])
    early, _ = bench.open("early‸", uri="file:///work/early.py")
    await bench.start()
    root = early.root
    assert completer.told == [("roots", root), ("changed", "early.py", root, "early", "python")]
    completer.told.clear()
    document, place = bench.open("a‸", uri="file:///work/b/c.py")
    document.buffer.replace(place, place, "b")
    bench.host.changed(document)
    bench.host.saved(document.uri)
    bench.host.close(document.uri)
    bench.host.saved(document.uri)
    bench.host.roots_changed()
    assert completer.told == [
        ("changed", "b/c.py", root, "a", "python"),
        ("changed", "b/c.py", root, "ab", "python"),
        ("saved", "b/c.py", root),
        ("closed", "b/c.py", root),
        ("roots", root),
    ]


async def test_changes_on_disk_are_told_by_root_and_path():
    completer = FollowingCompleter()
    bench = Bench([completer])
    bench.host.files_changed(["file:///work/too/early.py"])
    bench.host.documents.change_roots(added=["file:///work", "file:///work/inner", "file:///other"], removed=[])
    await bench.start()
    work, inner, other = bench.host.documents.roots
    completer.told.clear()
    there = ["file:///work/a.py", "file:///work/inner/b%20c.py", "file:///work/a.py", "file:///other/d"]
    bench.host.files_changed([*there, "file:///nowhere/e.py", "untitled:f"])
    assert completer.told == [("files", "a.py", work), ("files", "b c.py", inner), ("files", "d", other)]


async def test_a_document_without_suggestions_is_not_learned_from():
    completer = FollowingCompleter()
    bench = Bench([completer])
    await bench.start(dataclasses.replace(QUIET, max_file_size=3))
    bench.open("long text‸")
    assert [one[0] for one in completer.told] == ["roots"]
