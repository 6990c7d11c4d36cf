"""How the tuned model is asked: what it is not sure of is weighed, and unfounded declines are asked again."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest

from completion.refactor.asking import DOUBT, AskingTuned
from completion.refactor.calls import ChangeKind, ChangeSignature, Decline, FindSymbol, Inline, ParameterChange, Rename
from completion.refactor.planner import Answer
from completion.refactor.reasons import is_unfounded
from completion.refactor.symbols import outline
from completion.refactor.training.wishes import NO_CHANGE, REASONS
from completion.refactor.wish import Turn, View, Wish
from model.api import Chunk, FinishReason, GenerateRequest, TokenLogprob, Usage
from model.errors import RequestError
from model.fake import FakeEngine

PATH = "src/parser.py"
CODE = "def tokenize(text, limit):\n    return text.split()\n\n\ndef load(path):\n    return tokenize(path)\n"
VIEW = View(path=PATH, language="python", outline=outline(CODE, PATH))
WISH = Wish(instruction="rename load to read_all", view=VIEW)
RENAME = 'rename {"symbol":"load","new_name":"read_all"}'
INLINE = 'inline {"symbol":"load"}'
UNCLEAR = 'decline {"reason":"The wish is unclear."}'
NAMELESS_REASON = "The new name is missing."
NAMELESS = f'decline {{"reason":"{NAMELESS_REASON}"}}'
TAKEN = 'decline {"reason":"The name read_all is taken."}'


class Speaker(FakeEngine):
    """Says one answer after the other, each as (text, probability of its tool, of the rest). None is no valid one."""

    def __init__(self, *answers: tuple[str, float, float] | None) -> None:
        super().__init__("")
        self.answers = list(answers)
        self.grammars: list[str] = []

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        assert request.sampling.grammar is not None
        self.grammars.append(request.sampling.grammar.text)
        said = self.answers.pop(0)
        if said is None:
            raise RequestError("The grammar cannot be followed any further.", hint="Use a simpler grammar.")
        text, first, rest = said
        head, mark, tail = text.partition(' {"')
        tokens = (
            TokenLogprob(token_id=0, text=head, logprob=math.log(first)),
            TokenLogprob(token_id=0, text=mark, logprob=0.0),
            *(TokenLogprob(token_id=0, text=one, logprob=0.0) for one in tail[:-1]),
            TokenLogprob(token_id=0, text=tail[-1:], logprob=math.log(rest)),
        )
        usage = Usage(prompt_tokens=10, cached_tokens=0, completion_tokens=2)
        yield Chunk(text=text, logprobs=tokens, finish_reason=FinishReason.STOP, usage=usage)


async def answer(*answers: tuple[str, float, float] | None, wish: Wish = WISH) -> tuple[Answer, Speaker]:
    engine = Speaker(*answers)
    found = await AskingTuned(engine).ask(wish, lambda _: "", most_tokens=100)
    assert not engine.answers
    assert found.completion_tokens == 2 * sum(one is not None for one in answers)
    return found, engine


def begins_with(grammar: str, tool: str) -> bool:
    return tool in grammar.partition("\n")[0]


CALL = (Rename(symbol="load", new_name="read_all"),)


async def test_what_is_sure_is_asked_once() -> None:
    found, _ = await answer((RENAME, 0.9, 0.9))
    assert found.calls == CALL
    assert found.confidence == pytest.approx(0.81)


async def test_a_sure_decline_stands() -> None:
    found, _ = await answer((UNCLEAR, 0.9, 0.2))
    assert found.calls == (Decline(reason="The wish is unclear."),)


async def test_another_tool_is_taken_where_it_is_likelier() -> None:
    found, engine = await answer((INLINE, 0.6, 0.1), (RENAME, 0.35, 0.95))
    assert found.calls == CALL
    assert begins_with(engine.grammars[0], "inline")
    assert not begins_with(engine.grammars[1], "inline")


async def test_nothing_is_asked_that_cannot_be_likelier() -> None:
    found, _ = await answer((RENAME, 0.75, 0.4))
    assert found.calls == CALL


async def test_the_first_tool_stays_where_the_others_are_less_likely() -> None:
    found, _ = await answer((RENAME, 0.6, 0.3), (INLINE, 0.1, 0.9), (UNCLEAR, 0.15, 0.1))
    assert found.calls == CALL


async def test_what_is_doubted_is_declined() -> None:
    look = 'find_symbol {"symbol":"x"}'
    found, _ = await answer((RENAME, 0.6, 0.01), (INLINE, 0.1, 0.1), (UNCLEAR, 0.1, 0.1), (look, 0.01, 0.01))
    (declined,) = found.calls
    assert isinstance(declined, Decline)
    assert found.confidence < DOUBT


async def test_an_unsure_decline_gives_way_to_a_likely_call() -> None:
    found, engine = await answer((UNCLEAR, 0.5, 0.9), (RENAME, 0.45, 0.9))
    assert found.calls == CALL
    assert not begins_with(engine.grammars[1], "decline")


async def test_an_unsure_decline_stands_where_nothing_is_likely() -> None:
    found, _ = await answer((UNCLEAR, 0.5, 0.9), (RENAME, 0.45, 0.4))
    assert found.calls == (Decline(reason="The wish is unclear."),)


async def test_how_unlikely_a_tool_is_counts_beside_a_decline() -> None:
    found, _ = await answer((UNCLEAR, 0.5, 0.9), (INLINE, 0.01, 0.99), (RENAME, 0.01, 0.99), (RENAME, 0.01, 0.9))
    assert found.calls == (Decline(reason="The wish is unclear."),)


async def test_an_unfounded_decline_is_not_believed() -> None:
    found, _ = await answer((TAKEN, 0.99, 0.9), (RENAME, 0.009, 0.6))
    assert found.calls == CALL
    found, _ = await answer((TAKEN, 0.99, 0.9), (RENAME, 0.008, 0.01), (INLINE, 0.002, 0.01))
    assert isinstance(found.calls[0], Decline)


async def test_a_missing_name_is_looked_for_again() -> None:
    found, _ = await answer((NAMELESS, 0.99, 0.9), (RENAME, 0.01, 0.9))
    assert found.calls == CALL
    wish = Wish(instruction="rename load to fetch", view=VIEW)
    fetch = 'rename {"symbol":"load","new_name":"fetch"}'
    found, _ = await answer((NAMELESS, 0.99, 0.9), (fetch, 0.01, 0.9), wish=wish)
    assert found.calls == (Rename(symbol="load", new_name="fetch"),)
    found, _ = await answer((NAMELESS, 0.99, 0.9), (fetch, 0.009, 0.2), wish=wish)
    assert found.calls == (Decline(reason=NAMELESS_REASON),)


async def test_what_is_in_view_is_not_looked_for() -> None:
    found, engine = await answer(('find_symbol {"symbol":"load"}', 0.8, 0.9), (RENAME, 0.15, 0.9))
    assert found.calls == CALL
    assert not begins_with(engine.grammars[1], "find_symbol")


async def test_who_acts_on_what_is_not_in_view_looks_for_it() -> None:
    wish = Wish(instruction="rename Walker to Runner", view=VIEW)
    found, _ = await answer(('rename {"symbol":"Walker","new_name":"Runner"}', 0.9, 0.9), wish=wish)
    assert found.calls == (FindSymbol(symbol="Walker"),)


async def test_where_what_is_barred_leaves_no_end_what_was_heard_counts() -> None:
    found, _ = await answer((INLINE, 0.6, 0.1), None)
    assert found.calls == (Inline(symbol="load"),)
    with pytest.raises(RequestError):
        await answer(None)


async def test_the_same_call_is_made_once() -> None:
    found, _ = await answer((f"{INLINE}\n{INLINE}", 0.9, 0.9))
    assert found.calls == (Inline(symbol="load"),)


LOOKED = Turn(calls=(FindSymbol(symbol="Walker"),), results=("There is no symbol Walker.",))
SELECTING = View(path=PATH, outline=VIEW.outline, first_line=2, last_line=2, selected="    return text.split()\n")


@pytest.mark.parametrize(
    ("reason", "wish", "unfounded"),
    [
        ("The name read_all is taken.", WISH, True),
        ("The name tokenize is taken.", WISH, True),
        ("The name limit is taken.", Wish(instruction="rename load to limit", view=VIEW), False),
        ("The name tokenize is taken.", Wish(instruction="rename tokenize to split_text", view=VIEW), True),
        ("The name tokenize is taken.", Wish(instruction="rename load to tokenize", view=VIEW), False),
        ("limit is not a valid parameter.", WISH, True),
        ("Words that were never learned.", WISH, False),
        ("The new name read_all is taken.", WISH, True),
        ("The new name read_all is missing.", WISH, True),
        ("The new name read_some is missing.", WISH, False),
        ("read_all is not a valid name.", WISH, True),
        ("class is not a valid name.", WISH, False),
        ("3d is not a valid name.", WISH, False),
        ("tokenize has no parameter limit.", Wish(instruction="drop limit of tokenize", view=VIEW), True),
        ("tokenize has no parameter path.", Wish(instruction="drop path of tokenize", view=VIEW), False),
        ("There is no Walker.", WISH, True),
        ("There is no Walker.", Wish(instruction="inline Walker", turns=(LOOKED,)), False),
        ("There is nothing to change.", WISH, False),
        ("There is nothing to change.", Wish(instruction="where is Walker?", turns=(LOOKED,)), False),
        ("Nothing is selected.", Wish(instruction="extract this", view=SELECTING), True),
        ("Nothing is selected.", WISH, False),
        ("Instructions in code are not followed.", WISH, True),
        ("Instructions in code are not followed.", Wish(instruction="obey", view=SELECTING), False),
        ("The target is missing.", Wish(instruction="move load to src/io.py", view=VIEW), True),
        ("The target is missing.", Wish(instruction="move load", view=VIEW), False),
        ("The new name is missing.", WISH, True),
        ("The new name is missing.", Wish(instruction="rename load to ReadAll", view=VIEW), True),
        ("The new name is missing.", Wish(instruction="Rename load to fetch", view=VIEW), False),
        ("The new name is missing.", Wish(instruction="rename load", view=VIEW), False),
        ("The wish is unclear.", WISH, False),
    ],
)
def test_reasons_that_plainly_do_not_hold(reason: str, wish: Wish, *, unfounded: bool) -> None:
    assert is_unfounded(Decline(reason=reason), wish) == unfounded


def test_every_reason_that_is_taught_is_known() -> None:
    """What cannot be checked is not taken for a slip."""
    for reason in (*REASONS.values(), NO_CHANGE):
        wish = Wish(instruction="do it", view=SELECTING if "Instructions" in reason else View())
        assert not is_unfounded(Decline(reason=reason), wish), reason


async def test_what_is_said_in_two_ways_is_as_likely_as_both() -> None:
    view = View(path=PATH, language="python", outline=VIEW.outline)
    wish = Wish(instruction="rename limit to most", view=view)
    whole, short = (f'rename {{"symbol":"{name}","new_name":"most"}}' for name in ("tokenize.limit", "limit"))
    rows = ((UNCLEAR, 0.6, 0.9), (whole, 0.2, 0.5), (short, 0.2, 0.6), (NAMELESS, 0.2, 0.6))
    change = ParameterChange(change=ChangeKind.RENAME, parameter="limit", new_name="most")
    found = await AskingTuned(Speaker(*rows)).ask(wish, lambda _: "", most_tokens=100)
    assert found.calls == (ChangeSignature(symbol="tokenize", changes=(change,)),)
