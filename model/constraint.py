"""Grammar-constrained decoding: which tokens may come next, over the engine's own tokenizer. No tensors, no torch.

A thin face of llguidance (github.com/guidance-ai/llguidance), which walks the vocabulary's bytes along the grammar.
Where the grammar leaves but one text, its tokens as the tokenizer itself would cut it are the only ones allowed, and
need not be computed: the text is the same, and reads as what the model was trained on.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from model.api import Grammar, GrammarKind
from model.errors import RequestError
from model.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_KEPT = 32
_WHITESPACE = r"( |\n[ \t]{0,64})?"
"""Between the parts of JSON: enough to lay it out in lines, too little to go on with for ever."""
_KINDS = {
    GrammarKind.JSON_SCHEMA: "JSON schema",
    GrammarKind.REGEX: "regular expression",
    GrammarKind.LARK: "grammar",
}
_RULE = re.compile(r"[a-z_][a-z0-9_]*")


class Constraint:
    """One generation's grammar as it goes on. Belongs to the thread that steps the model."""

    def __init__(self, matcher: LLMatcher, *, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._forced: deque[int] | None = None

    @property
    def ended(self) -> bool:
        """Can nothing more come?"""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    @property
    def complete(self) -> bool:
        """May the text end here?"""
        return self._matcher.is_accepting()

    def forced(self) -> tuple[int, ...]:
        """Tokens that must come next, one after the other; often none."""
        if self._forced is None:
            self._forced = deque(() if self.ended else self._matcher.compute_ff_tokens())
        return tuple(self._forced)

    def allowed(self) -> bytes:
        """One byte for each token of the vocabulary, not 0 where the token may come next.

        Raises `RequestError` where none may, or the grammar has grown too complex.
        """
        if forced := self.forced():
            mask = bytearray(self._vocabulary)
            mask[forced[0]] = 1
            return bytes(mask)
        allowed = self._matcher.compute_logit_bias()
        if self._matcher.is_error() or not any(allowed):
            raise _stuck(self._matcher.get_error())
        return allowed

    def advance(self, token_id: int) -> None:
        """The token was chosen. Raises `RequestError` for one that was not allowed."""
        if not self._matcher.consume_token(token_id):
            raise _stuck(self._matcher.get_error())
        if self._forced:
            self._forced.popleft()
        if not self._forced:
            self._forced = None

    def valid(self, tokens: Sequence[int]) -> int:
        """How many of these could come next, one after the other."""
        return self._matcher.validate_tokens(list(tokens))


class Constraints:
    """Grammars over one tokenizer. Compiled ones are kept for those who ask the same again; any thread may ask.

    `end_ids` are the tokens that end a generation: allowed exactly where the grammar may end.
    """

    def __init__(self, tokenizer: Tokenizer, end_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._lock = threading.Lock()
        self._vocabulary: LLTokenizer | None = None
        self._compiled: OrderedDict[Grammar, LLMatcher] = OrderedDict()

    def start(self, grammar: Grammar) -> Constraint:
        """The grammar at its beginning. Raises `RequestError` for one that is wrong, or that no text satisfies."""
        with self._lock:
            if grammar in self._compiled:
                self._compiled.move_to_end(grammar)
            else:
                self._compiled[grammar] = self._compile(grammar)
                if len(self._compiled) > _KEPT:
                    self._compiled.popitem(last=False)
            matcher = self._compiled[grammar].deep_copy()
            assert self._vocabulary is not None
            return Constraint(matcher, vocabulary=self._vocabulary.vocab_size)

    def _compile(self, grammar: Grammar) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits

        source = self._source(grammar)
        if self._vocabulary is None:
            self._vocabulary = _vocabulary(self._tokenizer, self._end_ids)
        matcher = LLMatcher(self._vocabulary, source, log_level=0, limits=LLParserLimits(verbose_errors=False))
        probe = matcher.deep_copy()  # some contradictions show with the first token only
        probe.compute_logit_bias()
        if probe.is_error():
            raise _refused(grammar, probe.get_error())
        return matcher

    def _source(self, grammar: Grammar) -> str:
        from llguidance import LLMatcher

        if grammar.kind is GrammarKind.JSON_SCHEMA:
            try:
                schema = json.loads(grammar.text)
            except ValueError as error:
                raise _refused(grammar, f"it is not JSON: {error}") from error
            if schema is False or not isinstance(schema, dict | bool):
                raise _refused(grammar, "it must be an object that some value fits")
            options: Any = {"whitespace_pattern": _WHITESPACE, "lenient": grammar.lenient}
            return LLMatcher.grammar_from_json_schema(schema if isinstance(schema, dict) else {}, overrides=options)
        if grammar.kind is GrammarKind.REGEX:
            return LLMatcher.grammar_from_regex(grammar.text)
        return LLMatcher.grammar_from_lark(grammar.text + self._control_rules(grammar))

    def _control_rules(self, grammar: Grammar) -> str:
        rules = ""
        for rule, token in grammar.control:
            if not _RULE.fullmatch(rule):
                raise _refused(grammar, f"{rule!r} is no name for a rule")
            rules += f"\n{rule}: <[{self._tokenizer.special_id(token)}]>"
        return rules + "\n"


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, end_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        count = len(tokenizer)
        self.tokens = [tokenizer.bytes_of(index) for index in range(count)]
        for index in tokenizer.control_ids:
            if index < count:
                self.tokens[index] = tokenizer.name(index).encode()
        self.special_token_ids = sorted(index for index in tokenizer.control_ids | end_ids if index < count)
        if not end_ids:
            # llguidance wants an end; this one lies behind the vocabulary, so that no model ever writes it.
            self.tokens.append(b"<end>")
            self.special_token_ids.append(count)
        self.eos_token_id = min(end_ids, default=count)

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, bare=True)


def _vocabulary(tokenizer: Tokenizer, end_ids: frozenset[int]) -> LLTokenizer:
    from llguidance import LLTokenizer

    wrapper: Any = _Vocabulary(tokenizer, end_ids)
    return LLTokenizer(wrapper, eos_token=sorted(end_ids) or [wrapper.eos_token_id])


def _refused(grammar: Grammar, why: str) -> RequestError:
    return RequestError(
        f"The {_KINDS[grammar.kind]} cannot be followed: {_first_line(why)}.", hint="Correct it, or leave it out."
    )


def _stuck(why: str) -> RequestError:
    return RequestError(
        f"The grammar cannot be followed any further: {_first_line(why) or 'no token of this model goes on'}.",
        hint="Use a simpler grammar.",
    )


def _first_line(why: str) -> str:
    return why.strip().partition("\n")[0].rstrip(":. ")
