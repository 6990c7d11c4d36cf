"""Masks by llguidance against masks by brute force, over every kind of tokenizer; and grammars that are refused."""

from __future__ import annotations

import random
from pathlib import Path

import mistral_common
import pytest

from model.api import Grammar, GrammarKind
from model.checkpoint.gguf import GgufFile
from model.constraint import Constraint, Constraints
from model.errors import RequestError
from model.sentencepiece import read_sentencepiece
from model.tekken import read_tekken
from model.tokenizer import Tokenizer, read_tokenizer
from model.tokenizer_json import read_tokenizer_json
from tests.model.test_tokenizer_json import MAKERS
from tests.model.tiny import write_tiny

DATA = Path(mistral_common.__file__).parent / "data"
LANGUAGES = {
    "(the|then|in) int(int)?": {"the int", "then int", "in int", "the intint", "then intint", "in intint"},
    r"x = \[\]|x = \{\}|xy": {"x = []", "x = {}", "xy"},
    "( |  |\n)a?b": {" ab", "  ab", "\nab", " b", "  b", "\nb"},
    "(Grüße|Grün|世界)!": {"Grüße!", "Grün!", "世界!"},
    "": {""},
}
"""Regular expressions, and every text that each describes."""


def of_gguf(folder: Path) -> Tokenizer:
    with GgufFile(write_tiny(folder / "tiny.gguf")) as file:
        return read_tokenizer(file)


def of_json(kind: str, folder: Path) -> Tokenizer:
    MAKERS[kind](folder)
    return read_tokenizer_json(folder)


TOKENIZERS = {
    "gguf": of_gguf,
    "byte-level": lambda folder: of_json("byte-level", folder),
    "metaspace": lambda folder: of_json("sentencepiece", folder),
    "tekken": lambda _: read_tekken(DATA / "tekken_240911.json"),
    "sentencepiece": lambda _: read_sentencepiece(DATA / "mistral_instruct_tokenizer_240323.model.v3"),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return TOKENIZERS[request.param](tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def constraints(tokenizer: Tokenizer) -> Constraints:
    return Constraints(tokenizer, tokenizer.end_ids)


@pytest.fixture(scope="module")
def spellings(tokenizer: Tokenizer) -> dict[bytes, set[int]]:
    """Which tokens stand for these bytes."""
    found: dict[bytes, set[int]] = {}
    for index in range(len(tokenizer)):
        found.setdefault(tokenizer.bytes_of(index), set()).add(index)
    return found


def by_brute_force(
    tokenizer: Tokenizer, spellings: dict[bytes, set[int]], language: set[bytes], text: bytes
) -> set[int]:
    """Tokens after which some text of the language can still come about."""
    rests = [whole[len(text) :] for whole in language if whole.startswith(text)]
    pieces = {rest[:length] for rest in rests for length in range(1, len(rest) + 1)}
    going_on = {index for piece in pieces for index in spellings.get(piece, ())}
    return going_on | (tokenizer.end_ids if text in language else set())


def allowed(constraint: Constraint) -> set[int]:
    return {index for index, byte in enumerate(constraint.allowed()) if byte}


@pytest.mark.parametrize("pattern", LANGUAGES)
def test_masks_equal_brute_force(
    pattern: str, tokenizer: Tokenizer, constraints: Constraints, spellings: dict[bytes, set[int]]
) -> None:
    grammar = Grammar(kind=GrammarKind.REGEX, text=pattern)
    language = {text.encode() for text in LANGUAGES[pattern]}
    chance = random.Random(pattern)
    for _ in range(6):
        constraint, text = constraints.start(grammar), b""
        while True:
            expected = by_brute_force(tokenizer, spellings, language, text)
            forced, found = constraint.forced(), allowed(constraint)
            assert constraint.complete == (text in language)
            if forced:
                assert found == {forced[0]}
                run = b"".join(map(tokenizer.bytes_of, forced))
                assert all(whole.startswith(text + run) for whole in language if whole.startswith(text))
            else:
                assert found == expected
            assert found <= expected
            token = chance.choice(sorted(found))
            constraint.advance(token)
            if token in tokenizer.end_ids:
                break
            text += tokenizer.bytes_of(token)
        assert text in language
        assert constraint.ended


def test_a_vocabulary_without_ends_ends_where_nothing_can_follow(tmp_path: Path) -> None:
    tokenizer = of_gguf(tmp_path)
    constraint = Constraints(tokenizer, frozenset()).start(Grammar(kind=GrammarKind.REGEX, text="in"))
    for token in tokenizer.encode("in", bare=True):
        assert not constraint.ended
        assert token in allowed(constraint)
        constraint.advance(token)
    assert constraint.ended
    assert constraint.complete


def test_json_may_be_laid_out_in_lines_but_not_for_ever(tokenizer: Tokenizer, constraints: Constraints) -> None:
    grammar = Grammar(kind=GrammarKind.JSON_SCHEMA, text='{"type": "array", "items": {"type": "integer"}}')
    constraint = constraints.start(grammar)
    for token in tokenizer.encode("[\n  1, 2\n]", bare=True):
        assert token in allowed(constraint)
        constraint.advance(token)
    assert constraint.complete
    endless = constraints.start(grammar)
    assert endless.valid(tokenizer.encode("[" + "\n" * 9, bare=True)) <= 3


def test_control_tokens_stand_where_the_grammar_names_them(tokenizer: Tokenizer, constraints: Constraints) -> None:
    names = sorted(tokenizer.control_names - {tokenizer.name(index) for index in tokenizer.end_ids})
    grammar = Grammar(kind=GrammarKind.LARK, text='start: call "x" call', control=(("call", names[-1]),))
    constraint = constraints.start(grammar)
    control = tokenizer.special_id(names[-1])
    for token in (control, *tokenizer.encode("x", bare=True), control):
        assert allowed(constraint) == {token}
        constraint.advance(token)
    assert constraint.ended


def test_text_that_spells_a_control_token_is_not_one(tokenizer: Tokenizer, constraints: Constraints) -> None:
    name = sorted(tokenizer.control_names)[0]
    constraint = constraints.start(Grammar(kind=GrammarKind.LARK, text=f'start: "{name}"'))
    assert not allowed(constraint) & tokenizer.control_ids


REFUSED = {
    "no type": (GrammarKind.JSON_SCHEMA, '{"type": "objct"}'),
    "no JSON": (GrammarKind.JSON_SCHEMA, "{"),
    "no schema": (GrammarKind.JSON_SCHEMA, "[]"),
    "nothing fits": (GrammarKind.JSON_SCHEMA, "false"),
    "no such length": (GrammarKind.JSON_SCHEMA, '{"type": "string", "minLength": 5, "maxLength": 2}'),
    "two types at once": (GrammarKind.JSON_SCHEMA, '{"allOf": [{"type": "string"}, {"type": "integer"}]}'),
    "what cannot be enforced": (GrammarKind.JSON_SCHEMA, '{"type": "array", "uniqueItems": true}'),
    "a reference to nothing": (GrammarKind.JSON_SCHEMA, '{"$ref": "#/nope"}'),
    "an open bracket": (GrammarKind.REGEX, "("),
    "looking ahead": (GrammarKind.REGEX, "(?=a)b"),
    "no character": (GrammarKind.REGEX, r"[^\s\S]"),
    "an unknown rule": (GrammarKind.LARK, "start: nowhere"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_followed_is_refused_before_anything_runs(case: str, tmp_path: Path) -> None:
    kind, text = REFUSED[case]
    tokenizer = of_gguf(tmp_path)
    with pytest.raises(RequestError, match="cannot be followed") as caught:
        Constraints(tokenizer, tokenizer.end_ids).start(Grammar(kind=kind, text=text))
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_what_cannot_be_enforced_is_ignored_where_that_is_allowed(tmp_path: Path) -> None:
    tokenizer = of_gguf(tmp_path)
    grammar = Grammar(kind=GrammarKind.JSON_SCHEMA, text=REFUSED["what cannot be enforced"][1], lenient=True)
    assert not Constraints(tokenizer, tokenizer.end_ids).start(grammar).complete


@pytest.mark.parametrize(("rule", "token"), [("call", "[NOWHERE]"), ("no name", "<file_sep>"), ("Call", "<file_sep>")])
def test_wrong_rules_for_control_tokens_are_refused(rule: str, token: str, tmp_path: Path) -> None:
    tokenizer = of_gguf(tmp_path)
    grammar = Grammar(kind=GrammarKind.LARK, text='start: "a"', control=((rule, token),))
    with pytest.raises(RequestError) as caught:
        Constraints(tokenizer, tokenizer.end_ids).start(grammar)
    assert caught.value.hint


def test_a_token_that_was_not_allowed_is_told(tmp_path: Path) -> None:
    tokenizer = of_gguf(tmp_path)
    constraint = Constraints(tokenizer, tokenizer.end_ids).start(Grammar(kind=GrammarKind.REGEX, text="a|b"))
    with pytest.raises(RequestError, match="any further") as caught:
        constraint.advance(tokenizer.encode("c")[0])
    assert caught.value.hint
    with pytest.raises(RequestError, match="any further"):
        constraint.allowed()


def test_generations_with_the_same_grammar_do_not_disturb_each_other(tmp_path: Path) -> None:
    tokenizer = of_gguf(tmp_path)
    constraints = Constraints(tokenizer, tokenizer.end_ids)
    grammar = Grammar(kind=GrammarKind.REGEX, text="ab|cd")
    first, second = constraints.start(grammar), constraints.start(grammar)
    first.advance(tokenizer.encode("a")[0])
    second.advance(tokenizer.encode("c")[0])
    assert allowed(first) == set(tokenizer.encode("b"))
    assert allowed(second) == set(tokenizer.encode("d"))
    for number in range(40):  # more than are kept
        constraints.start(Grammar(kind=GrammarKind.REGEX, text=f"x{number}"))
    assert allowed(constraints.start(grammar)) == set(tokenizer.encode("a") + tokenizer.encode("c"))
