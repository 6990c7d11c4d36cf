"""Which language a text is written in: from the editor's word, the path, or the first line. No parsing here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What stopping and prompts need to know of a language.

    `blocks`: "indent" where indentation carries structure, "brace" where brackets do, "none" for prose and data.
    """

    id: str
    blocks: str = "brace"
    line_comment: str | None = None
    extensions: tuple[str, ...] = ()
    file_names: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()


PLAIN_TEXT = Language(id="plaintext", blocks="none", extensions=("txt", "text", "log"))

LANGUAGES: tuple[Language, ...] = (
    Language(
        id="python", blocks="indent", line_comment="#", extensions=("py", "pyi", "pyw"), interpreters=("python", "pypy")
    ),
    Language(
        id="javascript", line_comment="//", extensions=("js", "mjs", "cjs", "jsx"), interpreters=("node", "deno", "bun")
    ),
    Language(id="typescript", line_comment="//", extensions=("ts", "mts", "cts")),
    Language(id="typescriptreact", line_comment="//", extensions=("tsx",)),
    Language(id="go", line_comment="//", extensions=("go",)),
    Language(id="rust", line_comment="//", extensions=("rs",)),
    Language(id="java", line_comment="//", extensions=("java",)),
    Language(id="kotlin", line_comment="//", extensions=("kt", "kts")),
    Language(id="scala", line_comment="//", extensions=("scala", "sc")),
    Language(id="swift", line_comment="//", extensions=("swift",)),
    Language(id="c", line_comment="//", extensions=("c", "h")),
    Language(id="cpp", line_comment="//", extensions=("cc", "cpp", "cxx", "hh", "hpp", "hxx", "cu", "cuh")),
    Language(id="csharp", line_comment="//", extensions=("cs",)),
    Language(id="php", line_comment="//", extensions=("php",), interpreters=("php",)),
    Language(id="dart", line_comment="//", extensions=("dart",)),
    Language(id="zig", line_comment="//", extensions=("zig",)),
    Language(
        id="ruby",
        blocks="indent",
        line_comment="#",
        extensions=("rb", "rake", "gemspec"),
        file_names=("Gemfile", "Rakefile"),
        interpreters=("ruby",),
    ),
    Language(id="lua", blocks="indent", line_comment="--", extensions=("lua",), interpreters=("lua", "luajit")),
    Language(id="elixir", blocks="indent", line_comment="#", extensions=("ex", "exs"), interpreters=("elixir",)),
    Language(id="haskell", blocks="indent", line_comment="--", extensions=("hs",)),
    Language(id="julia", blocks="indent", line_comment="#", extensions=("jl",), interpreters=("julia",)),
    Language(id="r", line_comment="#", extensions=("r", "R"), interpreters=("Rscript",)),
    Language(
        id="shellscript",
        blocks="indent",
        line_comment="#",
        extensions=("sh", "bash", "zsh", "ksh"),
        interpreters=("sh", "bash", "zsh", "ksh", "dash"),
    ),
    Language(id="sql", blocks="indent", line_comment="--", extensions=("sql",)),
    Language(
        id="makefile",
        blocks="indent",
        line_comment="#",
        extensions=("mk",),
        file_names=("Makefile", "makefile", "GNUmakefile"),
    ),
    Language(id="dockerfile", blocks="indent", line_comment="#", file_names=("Dockerfile", "Containerfile")),
    Language(id="toml", blocks="none", line_comment="#", extensions=("toml",)),
    Language(id="yaml", blocks="indent", line_comment="#", extensions=("yaml", "yml")),
    Language(id="ini", blocks="none", line_comment="#", extensions=("ini", "cfg", "conf")),
    Language(id="json", extensions=("json", "jsonc", "json5", "geojson")),
    Language(id="css", extensions=("css", "scss", "less")),
    Language(id="html", blocks="indent", extensions=("html", "htm", "vue", "svelte")),
    Language(id="xml", blocks="indent", extensions=("xml", "svg", "xsl")),
    Language(id="markdown", blocks="none", extensions=("md", "markdown")),
    Language(id="restructuredtext", blocks="none", extensions=("rst",)),
    Language(id="tex", blocks="none", line_comment="%", extensions=("tex", "sty")),
    PLAIN_TEXT,
)

_BY_ID = {language.id: language for language in LANGUAGES} | {
    # Ids that some editors use for languages that others call otherwise.
    name: language
    for language in LANGUAGES
    for alias, target in (
        ("javascriptreact", "javascript"),
        ("bash", "shellscript"),
        ("sh", "shellscript"),
        ("zsh", "shellscript"),
        ("make", "makefile"),
        ("c++", "cpp"),
        ("c#", "csharp"),
        ("cs", "csharp"),
        ("text", "plaintext"),
        ("latex", "tex"),
        ("jsonc", "json"),
        ("scss", "css"),
        ("less", "css"),
        ("vue", "html"),
        ("svelte", "html"),
    )
    for name in (alias,)
    if target == language.id
}
_BY_EXTENSION = {extension: language for language in LANGUAGES for extension in language.extensions}
_BY_FILE_NAME = {name: language for language in LANGUAGES for name in language.file_names}
_SHEBANG = re.compile(r"#!\s*(?:\S*/env\s+(?:-S\s+)?)?(?:\S*/)?([A-Za-z]+)")


def detect(*, language_id: str | None = None, path: str = "", text: str = "") -> Language:
    """The language of a text; `PLAIN_TEXT` where nothing tells.

    The editor's id wins, then the file's name, its extension, and at last a `#!` line.
    """
    if language_id and language_id.lower() in _BY_ID and language_id.lower() != PLAIN_TEXT.id:
        return _BY_ID[language_id.lower()]
    name = PurePosixPath(path.replace("\\", "/")).name
    if name in _BY_FILE_NAME:
        return _BY_FILE_NAME[name]
    extension = name.rpartition(".")[2] if "." in name else ""
    for candidate in (extension, extension.lower()):
        if candidate in _BY_EXTENSION:
            return _BY_EXTENSION[candidate]
    shebang = _SHEBANG.match(text)
    if shebang:
        for language in LANGUAGES:
            if any(shebang[1].startswith(interpreter) for interpreter in language.interpreters):
                return language
    return PLAIN_TEXT
