"""Fill-in-the-middle formats, one row per model family: control tokens and order, as data. No tokenizer, no torch.

A family is found by its vocabulary, never by the model's name. The beginning-of-sequence token is not part of a
format: the engine adds it where the checkpoint asks for it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from model.api import Segment
from model.errors import RequestError

NONE = "none"
"""The family of models that were never trained to fill in the middle."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of another file, shown to the model with its path."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FimFormat:
    """How one family wants prefix and suffix to be laid out. Token names are spelled as in the vocabulary."""

    family: str
    prefix: str
    suffix: str
    middle: str | None
    """The token that asks for the middle; None: the middle follows the prefix."""
    suffix_first: bool
    """Suffix before prefix: what is typed comes last, so that the prefix cache holds from key to key."""
    repository: str | None = None
    """The token before a repository's name, in prompts of several files."""
    file_separator: str | None = None
    """The token before each file's path, in prompts of several files."""
    file_header: str | None = None
    """The line before each file in prompts of several, with `{path}`, where there is no token for it: then all files
    stand in the prefix."""
    names_own_file: bool = False
    """Do separator and path stand before the file with the hole too, where there are others?"""
    ends: tuple[str, ...] = ()
    """Control tokens that end the middle, beside the checkpoint's own end-of-sequence tokens."""
    path_in_prefix: bool = False
    """Does the prefix begin with a line that names the file, and do snippets of other files come first of all?"""
    told_by: tuple[str, ...] = ()
    """Tokens that are no part of the format, and tell the family from one with the same."""
    by_vocabulary: bool = True
    """False: the tokens alone prove nothing; the adapter that taught the format names the family."""
    spelling: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """How a server that takes plain text wants a token spelled, where that is not its name."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that lay out one file."""
        return tuple(token for token in (self.prefix, self.suffix, self.middle) if token is not None)

    @property
    def marks(self) -> tuple[str, ...]:
        """The tokens that a vocabulary must have for this format to apply."""
        separator = () if self.file_separator is None else (self.file_separator,)
        return (*self.tokens, *separator, *self.told_by)

    @property
    def closing(self) -> tuple[str, ...]:
        """Tokens after which there is no more of the middle: the ends, and what begins another file."""
        begins = (self.file_separator, self.repository) if self.by_vocabulary else ()
        return (*self.ends, *(token for token in begins if token is not None))

    @property
    def takes_files(self) -> bool:
        """Were models of the family trained to read pieces of other files?"""
        return self.file_separator is not None or self.file_header is not None

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """Every token this format may use or meet."""
        extra = tuple(token for token in (self.repository, self.file_separator) if token is not None)
        return (*self.tokens, *extra, *self.ends)


# Sources: mistral-common (FIM request encoding), the model cards of Qwen2.5-Coder, DeepSeek-Coder, StarCoder2,
# Granite Code, Granite 3.3 and 4, Mellum, CodeGemma, Seed-Coder, and the papers of CodeLlama (arXiv 2308.12950) and
# Qwen2.5-Coder (arXiv 2409.12186). Of rows with the same tokens for one file, the one whose separator a vocabulary has
# comes before the one without, and the one that more tells apart before the other.
FORMATS: Mapping[str, FimFormat] = MappingProxyType(
    {
        row.family: row
        for row in (
            FimFormat(
                family="qwen",
                prefix="<|fim_prefix|>",
                suffix="<|fim_suffix|>",
                middle="<|fim_middle|>",
                suffix_first=False,
                repository="<|repo_name|>",
                file_separator="<|file_sep|>",
                names_own_file=True,
                ends=("<|endoftext|>", "<|fim_pad|>"),
            ),
            FimFormat(
                family="granite4",
                prefix="<|fim_prefix|>",
                suffix="<|fim_suffix|>",
                middle="<|fim_middle|>",
                suffix_first=False,
                repository="<|reponame|>",
                file_separator="<|filename|>",
                ends=("<|end_of_text|>", "<|fim_pad|>"),
            ),
            FimFormat(
                family="codegemma",
                prefix="<|fim_prefix|>",
                suffix="<|fim_suffix|>",
                middle="<|fim_middle|>",
                suffix_first=False,
                ends=("<|endoftext|>", "<|fim_pad|>", "<|file_separator|>"),
            ),
            FimFormat(
                family="starcoder2",
                prefix="<fim_prefix>",
                suffix="<fim_suffix>",
                middle="<fim_middle>",
                suffix_first=False,
                repository="<repo_name>",
                file_separator="<file_sep>",
                ends=("<|endoftext|>", "<fim_pad>"),
            ),
            FimFormat(
                family="mellum",
                prefix="<fim_prefix>",
                suffix="<fim_suffix>",
                middle="<fim_middle>",
                suffix_first=True,
                repository="<reponame>",
                file_separator="<filename>",
                names_own_file=True,
                ends=("<|endoftext|>", "<fim_pad>"),
                told_by=("<assistant>", "</assistant>"),
            ),
            FimFormat(
                family="granite",
                prefix="<fim_prefix>",
                suffix="<fim_suffix>",
                middle="<fim_middle>",
                suffix_first=False,
                repository="<reponame>",
                file_separator="<filename>",
                ends=("<|endoftext|>", "<|end_of_text|>", "<fim_pad>"),
            ),
            FimFormat(
                family="starcoder",
                prefix="<fim_prefix>",
                suffix="<fim_suffix>",
                middle="<fim_middle>",
                suffix_first=False,
                ends=("<|endoftext|>", "<fim_pad>"),
            ),
            FimFormat(
                family="deepseek",
                prefix="<｜fim▁begin｜>",
                suffix="<｜fim▁hole｜>",
                middle="<｜fim▁end｜>",
                suffix_first=False,
                file_header="#{path}",
                ends=("<｜end▁of▁sentence｜>",),
            ),
            FimFormat(
                family="seed",
                prefix="<[fim-prefix]>",
                suffix="<[fim-suffix]>",
                middle="<[fim-middle]>",
                suffix_first=True,
                ends=("<[end▁of▁sentence]>",),
            ),
            FimFormat(
                family="codellama",
                prefix="▁<PRE>",
                suffix="▁<SUF>",
                middle="▁<MID>",
                suffix_first=False,
                ends=("▁<EOT>",),
                spelling=MappingProxyType({"▁<PRE>": "<PRE> ", "▁<SUF>": " <SUF>", "▁<MID>": " <MID>"}),
            ),
            FimFormat(
                family="mistral",
                prefix="[PREFIX]",
                suffix="[SUFFIX]",
                middle=None,
                suffix_first=True,
                file_header="+++++ {path}",
                ends=("</s>",),
            ),
            # tersely's own, taught to the embedded model on spare tokens: docs/prompt-layout.md.
            FimFormat(
                family="tersely",
                prefix="<issue_start>",
                suffix="<issue_comment>",
                middle=None,
                suffix_first=True,
                file_separator="<file_sep>",
                ends=("<|endoftext|>",),
                path_in_prefix=True,
                by_vocabulary=False,
            ),
            # For hosted servers, which lay out the parts themselves: docs/hosted.md. No model has these tokens.
            FimFormat(
                family="parts",
                prefix="<|parts_prefix|>",
                suffix="<|parts_suffix|>",
                middle=None,
                suffix_first=True,
                file_separator="<|parts_file|>",
                path_in_prefix=True,
                by_vocabulary=False,
            ),
        )
    }
)


def detect(vocabulary: Container[str]) -> str:
    """The family whose tokens are all in `vocabulary`, or "none"."""
    for row in FORMATS.values():
        if row.by_vocabulary and all(token in vocabulary for token in row.marks):
            return row.family
    return NONE


def render(
    family: str, *, prefix: str, suffix: str, path: str = "", snippets: Sequence[Snippet] = ()
) -> tuple[Segment, ...]:
    """The whole prompt for a cursor between `prefix` and `suffix`, in any family.

    `snippets` are other places of the repository, most stable first; a family that has no place for them goes without.
    Without a trained format the prompt is the prefix alone, which a model continues.
    """
    row = FORMATS.get(family)
    if row is None:
        return (Segment(prefix),)
    if row.path_in_prefix:
        prefix = f"{path}\n{prefix}"
    if row.file_header is not None:
        prefix = behind_files(prefix, path=path, snippets=snippets, header=row.file_header)
    head: list[Segment] = []
    if row.file_separator is not None:
        texts = [f"{snippet.path}\n{snippet.text}\n" for snippet in snippets]
        if texts and path and row.names_own_file:
            texts.append(f"{path}\n")
        for text in texts:
            head += (Segment(row.file_separator, special=True), Segment(text))
    return apply(family, prefix=prefix, suffix=suffix, head=head)


def behind_files(prefix: str, *, path: str, snippets: Sequence[Snippet], header: str) -> str:
    """The prefix behind the snippets, each file under its `header` (with `{path}`); the bare prefix without any."""
    if not snippets:
        return prefix
    files = [header.format(path=one.path) + f"\n{one.text}\n" for one in snippets]
    return "".join((*files, header.format(path=path), "\n", prefix))


def apply(family: str, *, prefix: str, suffix: str, head: Sequence[Segment] = ()) -> tuple[Segment, ...]:
    """Lay out one file with a hole. `head` goes before the file's first token (other files of the repository).

    Raises `RequestError` for a family that has no format.
    """
    row = FORMATS.get(family)
    if row is None:
        raise RequestError(
            f"The model was not trained to fill in the middle (its family is {family!r}), so `suffix` cannot be used.",
            hint="Leave `suffix` out, or serve a model with a FIM format, such as Codestral or Qwen2.5-Coder.",
        )
    before = (Segment(row.prefix, special=True), Segment(prefix))
    after = (Segment(row.suffix, special=True), Segment(suffix))
    end = () if row.middle is None else (Segment(row.middle, special=True),)
    parts = (*after, *before, *end) if row.suffix_first else (*before, *after, *end)
    return (*head, *(part for part in parts if part.special or part.text))
