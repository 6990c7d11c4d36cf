"""Token ids to text as they come, never half a character."""

from __future__ import annotations

import codecs

from model.tokenizer import Tokenizer


class Detokenizer:
    """Text of one generation, token by token. Bytes of an unfinished character wait for the next token, for ever.

    `with_control`: control tokens are spelled out, else left out.
    """

    def __init__(self, tokenizer: Tokenizer, *, with_control: bool = False) -> None:
        self._tokenizer = tokenizer
        self._with_control = with_control
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """The text that this token completes; empty while a character is unfinished."""
        if self._with_control and token_id in self._tokenizer.control_ids:
            return self._decoder.decode(self._tokenizer.text(token_id).encode())
        return self._decoder.decode(self._tokenizer.bytes_of(token_id))
