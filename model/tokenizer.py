"""Text to token ids and back, wired over `tokenizers`, and its reading from GGUF. Knows no weights and no prompts.

The user's text never becomes a control token, whatever it spells: control tokens are left out of the splitter, and
are reached by name only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tokenizers import Tokenizer as Bpe
from tokenizers import models, pre_tokenizers

from model.api import Prompt, Segment
from model.checkpoint.gguf import GgufFile, Value
from model.errors import CheckpointError, RequestError

_CONTROL = 3  # ggml's `llama_token_type`
END_NAMES = ("<|endoftext|>", "<|im_end|>", "</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<EOT>")
"""What the field calls tokens at which generation ends."""


def _byte_level() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _digits_apart() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level()])


_PRE_TOKENIZERS: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "gpt-2": _byte_level,
    "smollm": _digits_apart,
    "starcoder": _digits_apart,
    "refact": _digits_apart,
}
"""By `tokenizer.ggml.pre` (llama.cpp's `llama-vocab.cpp`)."""


def byte_level_piece(token: str) -> bytes:
    """The bytes of a token that is spelled in GPT-2's letters for bytes."""
    return bytes(BYTE_OF_LETTER[letter] for letter in token)


def sentencepiece_piece(token: str) -> bytes:
    """The bytes of a token in SentencePiece's spelling: ▁ is a blank, <0x0A> a byte."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes.fromhex(token[3:5])
    return token.replace("▁", " ").encode()


_BARE_AFTER = frozenset({"[SUFFIX]", "▁<SUF>", "▁<MID>"})
"""Behind these a SentencePiece text gets no blank before it (mistral-common's and CodeLlama's FIM encoding)."""


class Tokenizer:
    """A BPE tokenizer.

    `vocabulary` maps every token's name to its id, control tokens included. `end_ids` are the tokens at which
    generation ends. `bos_id` is set where the checkpoint wants a beginning-of-sequence token before every prompt.
    `bpe` encodes text; it must know no control tokens. `bare_bpe` does so without the blank that SentencePiece puts
    before a text. `piece` gives the bytes of a token as the vocabulary spells it; tokens in `literal_ids` are spelled
    as they are.
    """

    def __init__(
        self,
        *,
        tokens: list[str],
        bpe: Bpe,
        control_ids: frozenset[int],
        end_ids: frozenset[int],
        bos_id: int | None,
        bare_bpe: Bpe | None = None,
        piece: Callable[[str], bytes] = byte_level_piece,
        literal_ids: frozenset[int] = frozenset(),
    ) -> None:
        vocabulary = {token: index for index, token in enumerate(tokens)}
        self.vocabulary: Mapping[str, int] = MappingProxyType(vocabulary)
        self.control_ids = control_ids
        self.end_ids = end_ids
        self.bos_id = bos_id
        self._tokens = tokens
        self._bpe = bpe
        self._bare_bpe = bare_bpe or bpe
        self._piece = piece
        self._literal_ids = literal_ids

    def __len__(self) -> int:
        return len(self._tokens)

    def encode(self, text: str, *, bare: bool = False) -> list[int]:
        """Ids of the user's text: no control tokens. Lone surrogates, which no encoding can carry, become U+FFFD.

        With `bare`, a SentencePiece vocabulary puts no blank before the text.
        """
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        bpe = self._bare_bpe if bare else self._bpe
        ids: list[int] = bpe.encode(text, add_special_tokens=False).ids
        return ids

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt, each segment by itself; ids pass as they are. Raises `RequestError` for unknown tokens."""
        if isinstance(prompt, str):
            prompt = (Segment(prompt),)
        ids: list[int] = []
        before = ""
        for part in prompt:
            if isinstance(part, int):
                ids.append(self._checked(part))
            elif part.special:
                ids.append(self.special_id(part.text))
                before = part.text
            else:
                ids += self.encode(part.text, bare=before in _BARE_AFTER)
                before = ""
        given_as_ids = bool(prompt) and isinstance(prompt[0], int)
        if self.bos_id is not None and not given_as_ids and ids[:1] != [self.bos_id]:
            ids.insert(0, self.bos_id)
        return ids

    def special_id(self, name: str) -> int:
        """The id of the control token of that name. Raises `RequestError` when the model has none."""
        index = self.vocabulary.get(name)
        if index is None:
            raise RequestError(
                f"The model has no control token {name!r}.", hint="Use the prompt format that the model's info names."
            )
        return index

    @property
    def control_names(self) -> frozenset[str]:
        """Every control token as the vocabulary spells it."""
        return frozenset(self._tokens[token_id] for token_id in self.control_ids if token_id < len(self._tokens))

    def name(self, token_id: int) -> str:
        """The token as the vocabulary spells it (bytes in GPT-2's stand-in letters)."""
        return self._tokens[token_id]

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes that a token stands for; none for control tokens and padding rows of the embedding."""
        if token_id in self.control_ids or token_id >= len(self._tokens):
            return b""
        token = self._tokens[token_id]
        return token.encode() if token_id in self._literal_ids else self._piece(token)

    def text(self, token_id: int) -> str:
        """A token for people: a control token's name, else its text, with U+FFFD for parts of characters."""
        if token_id in self.control_ids:
            return self._tokens[token_id]
        return self.bytes_of(token_id).decode("utf-8", "replace")

    def decode(self, ids: list[int]) -> str:
        """The text of ids, control tokens left out, U+FFFD for what is not UTF-8."""
        return b"".join(self.bytes_of(token_id) for token_id in ids).decode("utf-8", "replace")

    def _checked(self, token_id: int) -> int:
        if not 0 <= token_id < len(self._tokens):
            raise RequestError(
                f"There is no token {token_id}: the vocabulary has {len(self._tokens)}.",
                hint="Send text, or valid ids.",
            )
        return token_id


def read_tokenizer(file: GgufFile) -> Tokenizer:
    """The tokenizer that a GGUF file describes. Raises `CheckpointError` for a kind that is not supported."""
    kind, pre = file.metadata.get("tokenizer.ggml.model"), file.metadata.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise CheckpointError(
            f"{file.path.name} has a tokenizer of kind {kind!r} with splitting {pre!r}, which is not supported.",
            hint=f"Supported are kind 'gpt2' with {', '.join(_PRE_TOKENIZERS)}.",
        )
    tokens = _texts(file, "tokenizer.ggml.tokens")
    pairs = [merge.split(" ", 1) for merge in _texts(file, "tokenizer.ggml.merges")]
    kinds = file.metadata.get("tokenizer.ggml.token_type", [])
    if any(len(pair) != 2 for pair in pairs) or not isinstance(kinds, list):
        raise _damaged(file, "tokenizer.ggml.merges")
    control_ids = frozenset(index for index, token_kind in enumerate(kinds) if token_kind == _CONTROL)
    bos_id = _token_id(file, "bos") if file.metadata.get("tokenizer.ggml.add_bos_token") else None
    vocabulary = {token: index for index, token in enumerate(tokens)}
    try:
        bpe = Bpe(models.BPE(vocab=vocabulary, merges=[(first, second) for first, second in pairs]))
    except Exception as error:  # `tokenizers` raises bare Exception for merges outside the vocabulary
        raise _damaged(file, "tokenizer.ggml.merges") from error
    bpe.pre_tokenizer = _PRE_TOKENIZERS[str(pre)]()
    return Tokenizer(
        tokens=tokens,
        bpe=bpe,
        control_ids=control_ids,
        end_ids=_end_ids(file, tokens, control_ids),
        bos_id=bos_id,
    )


def _end_ids(file: GgufFile, tokens: list[str], control_ids: frozenset[int]) -> frozenset[int]:
    """Ends that the file names, and control tokens that are ends under the names the field gives them."""
    named = {_token_id(file, role) for role in ("eos", "eot", "eom")} - {None}
    known = {index for index in control_ids if tokens[index] in END_NAMES}
    return frozenset(index for index in named | known if index is not None)


def _token_id(file: GgufFile, role: str) -> int | None:
    value = file.metadata.get(f"tokenizer.ggml.{role}_token_id")
    return value if isinstance(value, int) else None


def _texts(file: GgufFile, key: str) -> list[str]:
    values: Value | None = file.metadata.get(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _damaged(file, key)
    return [str(value) for value in values]


def _damaged(file: GgufFile, key: str) -> CheckpointError:
    return CheckpointError(f"{file.path.name} has no usable {key}.", hint="Fetch the model again.")


def _byte_letters() -> dict[str, int]:
    """GPT-2's letters for bytes: printable Latin-1 stands for itself, the rest for U+0100 and on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(hidden)}


BYTE_OF_LETTER = _byte_letters()
