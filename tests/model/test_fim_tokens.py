"""Prompts that fill in the middle, as token ids: those of the published string, read by the family's own tokenizer.

Mistral's are held against mistral-common in `test_tekken` and `test_sentencepiece`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Bpe
from transformers import PreTrainedTokenizerFast

from model import fim
from model.tokenizer_folder import read_folder_tokenizer

CODE = {
    "a body": ("def f(a):\n    return ", "\n\nprint(f(1))\n"),
    "nothing behind": ("x = ", ""),
    "nothing before": ("", "\nimport os\n"),
    "within a word": ("    in", "dex += 1"),
    "blanks and tabs": ("\t  ", "  \t\n"),
    "other scripts": ("größe = '🎉", "'\n"),
}
PUBLISHED = {
    "qwen": "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    "granite4": "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    "starcoder2": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    "granite": "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    "mellum": "<fim_suffix>{suffix}<fim_prefix>{prefix}<fim_middle>",
    "deepseek": "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>",
    "seed": "<[fim-suffix]>{suffix}<[fim-prefix]>{prefix}<[fim-middle]>",
}
"""As the model cards print them."""
REPOSITORY = {
    "qwen": "<|file_sep|>util.py\ndef g(): ...\n\n<|file_sep|>a.py\n"
    "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    "granite4": "<|filename|>util.py\ndef g(): ...\n\n<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>",
    "starcoder2": "<file_sep>util.py\ndef g(): ...\n\n<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    "granite": "<filename>util.py\ndef g(): ...\n\n<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    "mellum": "<filename>util.py\ndef g(): ...\n\n<filename>a.py\n<fim_suffix>{suffix}<fim_prefix>{prefix}<fim_middle>",
    "deepseek": "<｜fim▁begin｜>#util.py\ndef g(): ...\n\n#a.py\n{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>",
}
SNIPPETS = (fim.Snippet("util.py", "def g(): ...\n"),)


def _byte_level(folder: Path, family: str) -> Path:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("Ċ", "Ċ"), ("d", "e"), ("de", "f"), ("i", "n"), ("Ġ", "="), ("r", "e")]
    names = [*letters, *("".join(pair) for pair in pairs)]
    bpe = Bpe(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=pairs))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    row = fim.FORMATS[family]
    bpe.add_tokens([AddedToken(token, normalized=False) for token in (*row.control_tokens, *row.told_by)])
    bpe.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("family", PUBLISHED)
def test_token_ids_are_those_of_the_published_prompt(family: str, code: str, tmp_path: Path) -> None:
    ours = read_folder_tokenizer(_byte_level(tmp_path, family))
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    prefix, suffix = CODE[code]
    found = fim.detect(ours.vocabulary)
    assert found == family
    for snippets, published in (((), PUBLISHED.get(family)), (SNIPPETS, REPOSITORY.get(family))):
        if published is not None:
            expected = theirs(published.format(prefix=prefix, suffix=suffix))["input_ids"]
            prompt = fim.render(found, prefix=prefix, suffix=suffix, path="a.py", snippets=snippets)
            assert ours.encode_prompt(prompt) == expected


def _codellama(folder: Path) -> Bpe:
    """SentencePiece's spelling as CodeLlama's `tokenizer.json` has it: a blank before every text."""
    letters = ["▁", *(chr(code) for code in range(33, 127)), "ö", "ß"]
    pairs = [("▁", "▁"), ("▁▁", "▁▁"), ("d", "e"), ("de", "f"), ("▁", "def"), ("i", "n"), ("▁", "in"), ("▁", "=")]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *map("".join, pairs)]
    names += fim.FORMATS["codellama"].control_tokens
    vocabulary = {name: index for index, name in enumerate(names)}
    bpe = Bpe(models.BPE(vocab=vocabulary, merges=pairs, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bpe.add_special_tokens(["<unk>", "<s>", "</s>", *fim.FORMATS["codellama"].control_tokens])
    bpe.save(str(folder / "tokenizer.json"))
    return bpe


@pytest.mark.parametrize("code", CODE)
def test_codellamas_prompt_is_that_of_its_authors(code: str, tmp_path: Path) -> None:
    """Their `encode_infilling` puts a letter before the suffix and drops it again, so that no blank is added."""
    theirs = _codellama(tmp_path)
    ours = read_folder_tokenizer(tmp_path)
    assert fim.detect(ours.vocabulary) == "codellama"
    prefix, suffix = CODE[code]
    behind = theirs.encode("☺" + suffix).ids[len(theirs.encode("☺").ids) :]
    marks = [theirs.token_to_id(token) for token in fim.FORMATS["codellama"].tokens]
    expected = [marks[0], *(theirs.encode(prefix).ids if prefix else ()), marks[1], *behind, marks[2]]
    assert ours.encode_prompt(fim.apply("codellama", prefix=prefix, suffix=suffix)) == expected
