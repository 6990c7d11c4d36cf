"""Everything about a request that is settled before the engine is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from completion.api import CompletionRequest, Level
from completion.language import Language
from completion.prompt import BuiltPrompt
from completion.stopping import Site, StoppingGuard, choose_shape
from completion.syntax import Syntax
from model.api import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A cursor, its surroundings, and the prompt for them. `text` and `offset` are as a selected menu item has them."""

    request: CompletionRequest
    text: str
    offset: int
    site: Site
    language: Language
    level: Level
    prompt: BuiltPrompt
    model: ModelInfo
    syntax: Callable[[], Syntax | None]
    """Parses the file when first asked; None: it cannot be parsed."""
    started_s: float
    context_ms: float
    prompt_ms: float

    def guard(self) -> StoppingGuard:
        """A guard for one generation."""
        syntax = self.syntax()
        in_words = syntax is not None and syntax.kind_at() != "code"
        shape = choose_shape(self.site, self.language, self.level, in_words=in_words)
        return StoppingGuard(site=self.site, shape=shape, language=self.language, level=self.level, syntax=self.syntax)
