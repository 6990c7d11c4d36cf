"""`{% generation %}` … `{% endgeneration %}` in chat templates: training looks there for what the assistant said.

Here it is what stands between. Imports jinja2, so whoever renders imports it late. Source: transformers'
`apply_chat_template`.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser


class GenerationTag(Extension):
    """Renders what the tag encloses, with names of its own as transformers gives it."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)
