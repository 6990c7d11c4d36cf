"""Token ids to text as they come, never half a character."""

from __future__ import annotations

import codecs

from model.tokenizer import Tokenizer


class Detokenizer:
    """Text of one generation, token by token. Bytes of an unfinished character wait for the next token, for ever."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """The text that this token completes; empty while a character is unfinished."""
        return self._decoder.decode(self._tokenizer.bytes_of(token_id))
