"""Events come out the same however the stream was cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.sse import EventDecoder

STREAM = (
    '\ufeff: a comment\n\ndata: {"text": "naïve 😀"}\n\n'
    "event: x\r\ndata: one\r\ndata:two\r\n\r\n"
    "id: 5\rdata:  kept\r\r"
    "data\n\ndata: [DONE]\n\n"
).encode()
EVENTS = ['{"text": "naïve 😀"}', "one\ntwo", " kept", "", "[DONE]"]


def decode(pieces: list[bytes]) -> list[str]:
    decoder = EventDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def test_whole() -> None:
    assert decode([STREAM]) == EVENTS


def test_byte_by_byte() -> None:
    assert decode([STREAM[index : index + 1] for index in range(len(STREAM))]) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert decode([STREAM[start:end] for start, end in itertools.pairwise(edges)]) == EVENTS


@pytest.mark.parametrize(
    ("stream", "events"),
    [(b"data: a\n", ["a"]), (b"data: a\r", ["a"]), (b"data: a", []), (b"data: a\n\ndata: b", ["a"]), (b"", [])],
)
def test_a_stream_that_breaks_off(stream: bytes, events: list[str]) -> None:
    assert decode([stream]) == events
