"""Fields of a JSON body: every complaint at once, each with its field's name."""

from __future__ import annotations

import pytest

from model.errors import RequestError
from model.service.fields import BadFieldError, Fields


def test_every_complaint_is_collected() -> None:
    fields = Fields({"a": "x", "b": -1, "c": 3})
    assert fields.integer("a", 5, least=0) == 5
    assert fields.integer("b", 6, least=0) == 6
    assert fields.integer("c", 7, least=0) == 3
    assert fields.integer("d", 8, least=0) == 8
    with pytest.raises(BadFieldError, match=r"`a` .*`b` ") as caught:
        fields.check()
    assert caught.value.param == "a"
    assert caught.value.hint


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(RequestError, match="object"):
        Fields([1])
