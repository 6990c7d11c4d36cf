"""The bench of the tool model: what it asks shares nothing with training, and its measures are right."""

from __future__ import annotations

import json
import random
import re
from itertools import combinations
from pathlib import Path

import pytest
import torch

from bench.quality.dev_phrases import DEVELOPMENT
from bench.quality.phrases import HELD_OUT
from bench.quality.tools import Answer, ask_all, measure, scrambled
from bench.quality.wishes import COUNTS, development_cases, is_declined
from completion.refactor.calls import Decline, Rename
from completion.refactor.layout import read
from completion.refactor.training.phrasebook import Phrasebook, wordings
from completion.refactor.training.phrases import TRAINING
from completion.refactor.training.scene import Source
from completion.refactor.training.wishes import DECLINES, Case
from completion.refactor.training.write import Stage, is_kept, read_corpus, write_dialogues
from completion.refactor.wish import View, Wish
from model.errors import UsageError
from model.fake import FakeEngine
from model.train.adapter import Adapter, AdapterInfo
from model.train.corpus import held_out_names, sources
from model.train.dialogues import load_dialogues

SOURCE = Source(
    "paint",
    "paint/shapes.py",
    "python",
    '''import math

LIMIT = 10


class Shape:
    """Has an area."""

    def area(self, scale, unit):
        size = math.hypot(scale, unit)
        return size * LIMIT

    def grow(self, factor):
        label = "bigger"
        print(label)
        return self.area(factor, label)


def draw(shape, canvas, colour):
    place = canvas.locate(shape)
    canvas.paint(place, colour)
    name = "drawn"
    return name
''',
)
OTHER = Source(
    "paint", "paint/text.py", "python", "def write_text(font, size):\n    pass\n\n\ndef erase(font):\n    pass\n"
)


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", "", text).lower()))


def said(book: Phrasebook, kind: str) -> set[str]:
    return {wording.strip().lower() for template in book.wishes[kind] for wording in wordings(template)}


@pytest.mark.parametrize("kind", sorted(TRAINING.wishes))
def test_no_two_books_share_a_template(kind: str) -> None:
    training, development, held_out = (said(book, kind) for book in (TRAINING, DEVELOPMENT, HELD_OUT))
    assert training
    assert development
    assert held_out
    assert not training & held_out
    assert not development & (training | held_out)


@pytest.mark.parametrize("kind", sorted(HELD_OUT.verbs))
def test_the_two_books_share_no_verb(kind: str) -> None:
    trained, held_out = TRAINING.verbs[kind], HELD_OUT.verbs[kind]
    assert not trained & held_out
    for wording in said(HELD_OUT, kind):
        assert words(wording) & held_out, wording
        assert not words(wording) & trained, wording
    for wording in said(TRAINING, kind):
        assert not words(wording) & held_out, wording


@pytest.mark.parametrize("books", list(combinations((TRAINING, DEVELOPMENT, HELD_OUT), 2)), ids=["td", "th", "dh"])
def test_no_two_books_share_a_courtesy(books: tuple[Phrasebook, Phrasebook]) -> None:
    one, other = books
    for name in ("openings", "endings", "lines", "things", "joiners"):
        assert not set(getattr(one, name)) & set(getattr(other, name)), name
    for name in ("here", "nouns"):
        assert not set(sum(getattr(one, name).values(), ())) & set(sum(getattr(other, name).values(), ())), name


def test_no_package_is_in_both() -> None:
    assert not held_out_names() & (sources("pypi").keys() | sources("npm").keys())


def test_there_are_enough_wishes_of_every_kind() -> None:
    declined = sum(count for kind, count in COUNTS.items() if kind in DECLINES)
    assert declined >= 80
    assert sum(COUNTS.values()) >= 300
    assert set(DECLINES) <= set(COUNTS)


@pytest.mark.parametrize("book", [TRAINING, DEVELOPMENT, HELD_OUT], ids=["training", "development", "held out"])
@pytest.mark.parametrize("kind", sorted(COUNTS))
def test_every_kind_of_wish_can_be_made_and_answered(book: Phrasebook, kind: str) -> None:
    from completion.refactor.grammar import answer_grammar
    from completion.refactor.layout import write
    from tests.completion.refactor.test_layout import accepts

    stage = Stage([SOURCE, OTHER], book, seed=1)
    for number in range(4):
        for case in stage.case(number, kind=kind):
            assert (is_declined(case) or case.kind == "looked") == isinstance(case.calls[0], Decline)
            assert "{" not in case.wish.instruction
            assert accepts(answer_grammar(case.wish), write(case.calls)), (case.wish, case.calls)
    assert stage.case(3, kind=kind) == Stage([SOURCE, OTHER], book, seed=1).case(3, kind=kind)


def test_files_without_anything_for_a_wish_are_told() -> None:
    with pytest.raises(UsageError, match="nothing for a wish of kind edit"):
        Stage([OTHER], HELD_OUT, seed=1).case(1, kind="edit")


def write_corpus(folder: Path) -> Path:
    """The two files in a package that is trained on, and in one that is kept."""
    names = [f"package{number}" for number in range(99)]
    trained, kept = next(one for one in names if not is_kept(one)), next(one for one in names if is_kept(one))
    rows = [
        {"package": package, "path": one.path, "language": "python", "weight": 1.0, "text": one.text + "#" * 400}
        for package in (trained, kept)
        for one in (SOURCE, OTHER)
    ]
    path = folder / "files.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_development_wishes_are_about_packages_that_are_not_trained_on(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    trained = read_corpus(corpus, files=10, seed=0)
    kept = read_corpus(corpus, files=10, seed=0, kept=True)
    assert {one.path for one in trained} == {one.path for one in kept} == {SOURCE.path, OTHER.path}
    assert all(is_kept(one.package) for one in kept)
    assert not any(is_kept(one.package) for one in trained)
    cases = development_cases(corpus, share=0.05, seed=1)
    assert {one.kind for one in cases} == {*COUNTS, "lookup_act"}


def test_dialogues_of_a_scene_stand_together_and_begin_alike(tmp_path: Path) -> None:
    path = tmp_path / "dialogues.jsonl"
    write_dialogues(Stage([SOURCE, OTHER], TRAINING, seed=1), path, count=60, wishes=5)
    found = load_dialogues(path)
    assert len(found.rows) >= 60
    numbers = [row.scene for row in found.rows]
    assert numbers == sorted(numbers, key=lambda number: number or 0)
    assert len(set(numbers)) < 30
    first = [row for row in found.rows if row.scene == 0]
    assert len({row.prompt[1:3] for row in first}) == 1


def case(kind: str, *calls: Rename | Decline) -> Case:
    return Case(kind, Wish(instruction="go", view=View(path="a.py")), calls)


RENAME, DECLINE = case("rename", Rename(symbol="a", new_name="b")), case("chat", Decline(reason="No."))


def answer(one: Case, text: str) -> Answer:
    try:
        calls = read(text)
    except UsageError:
        calls = ()
    return Answer(case=one, calls=calls, tokens=4, prompt_tokens=10)


def test_measures() -> None:
    found = measure(
        [
            answer(RENAME, 'rename {"symbol":"a","new_name":"b"}'),
            answer(RENAME, 'rename {"symbol":"a","new_name":"c"}'),
            answer(RENAME, 'decline {"reason":"No."}'),
            answer(RENAME, "nonsense"),
            answer(DECLINE, 'decline {"reason":"Another reason."}'),
            answer(DECLINE, 'rename {"symbol":"a","new_name":"b"}'),
        ]
    )
    assert found["exact"]["share"] == 0.25
    assert found["right_tool"]["share"] == 0.5
    assert found["rightly_declined"]["share"] == 0.5
    assert found["wrongly_declined"]["share"] == 0.25
    assert found["valid"]["share"] == pytest.approx(5 / 6, abs=1e-4)
    assert found["by_kind"]["rename"] == {"wishes": 4, "right": 1}


async def test_what_the_engine_says_is_measured() -> None:
    engine = FakeEngine('rename {"symbol":"a","new_name":"b"}')
    (whole,) = await ask_all(engine, [RENAME], constrained=False)
    assert whole.exact


def test_scrambling_keeps_sizes_and_changes_weights() -> None:
    info = AdapterInfo(base_sha256="0", rank=2, scale=1.0, family="tersely-tools")
    adapter = Adapter(info, {"layer": (torch.randn(2, 3), torch.randn(50, 2))})
    other = scrambled(adapter)
    assert other.delta("layer").shape == adapter.delta("layer").shape
    assert not torch.allclose(other.delta("layer"), adapter.delta("layer"))
    assert torch.allclose(other.delta("layer").norm(), adapter.delta("layer").norm())


def test_a_slip_of_the_finger_touches_no_name() -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = TRAINING.say("rename", rng, symbol="Walker.walk_along", new="Runner")
        assert "Walker.walk_along" in text
        assert "Runner" in text
