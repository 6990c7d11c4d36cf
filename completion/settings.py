"""What a client may choose of completion, as one typed value. Clients parse; this room only reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from completion.api import Level
from model.registry import DEFAULT_MODEL


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBudget:
    """How much of the file goes into a prompt, in characters (code: about 3.3 a token)."""

    prefix_characters: int = 2000
    suffix_characters: int = 600

    def scaled(self, factor: float) -> PromptBudget:
        """The same shares of another size."""
        return PromptBudget(
            prefix_characters=max(1, round(self.prefix_characters * factor)),
            suffix_characters=max(1, round(self.suffix_characters * factor)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionSettings:
    """Which model to ask, where it runs, and how much to show."""

    model: str = DEFAULT_MODEL
    """A name that `tersely model list` prints, or a path."""
    engine_url: str | None = None
    """Ask this server (tersely's own, or any that speaks OpenAI's completions) instead of starting an engine."""
    engine_token_file: str | None = None
    """File with the bearer token for `engine_url`."""
    level: Level = Level.BALANCED
    max_tokens: int = 64
    budget: PromptBudget = field(default_factory=PromptBudget)
    read_ms: float = 1000.0
    """Reading a prompt of which the engine knows nothing may take so long: slow models get smaller prompts, fast ones
    larger, in steps of `budget`."""
    time_limit_ms: float | None = 5000.0
    """A suggestion that was not asked for by hand ends after this time with what there is; None: no limit."""
    look_ahead: bool = True
    """Complete the state after a suggestion in the background, so that accepting it shows the next at once."""
    veto: bool = True
    """Keep the model from attributes, keyword arguments and imports that the index knows not to exist."""
    context: bool = True
    """Show the model what the cursor needs of other files, where the model was trained to read such."""
    trusted: bool = True
    """Whether files of the workspace may be read and indexed; without, only open buffers are known."""
    embeddings_url: str | None = None
    """Server with OpenAI's embeddings, up to `/v1`, that tells which code means alike; None: words decide."""
    embeddings_model: str = "default"
    """The model to ask there."""
    embeddings_token_file: str | None = None
    """File with the bearer token for `embeddings_url`."""
    adapter: str | None = None
    """File that `tersely train` wrote, merged into the model; None: the one that the model brings, if any."""
    threads: int | None = None
    """Threads of an engine that is started; None: as many as there are free cores."""
    dtype: str = "auto"
    quantize: str = "auto"
    idle_unload_s: float = 900.0
    """An engine that nobody asks for this long gives its memory back."""
