"""A Python function's parameters as a list, and back: commas, comments and line breaks stay place by place (LibCST)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import libcst as cst

from model.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter with its kind: "only" positional, "both", "star", "key" (word only), "stars"."""

    kind: str
    node: cst.Param

    @property
    def name(self) -> str:
        return self.node.name.value


def parameters_of(params: cst.Parameters) -> list[Parameter]:
    """All parameters in their order, without the bare star."""
    found = [Parameter("only", one) for one in params.posonly_params]
    found += [Parameter("both", one) for one in params.params]
    if isinstance(params.star_arg, cst.Param):
        found.append(Parameter("star", params.star_arg))
    found += [Parameter("key", one) for one in params.kwonly_params]
    if params.star_kwarg is not None:
        found.append(Parameter("stars", params.star_kwarg))
    return found


def with_commas(made: list[cst.Arg], like: Sequence[cst.Arg]) -> list[cst.Arg]:
    """Commas and line breaks as the old arguments had them, place by place."""
    between = [one.comma for one in like[:-1]]
    last = like[-1].comma if like else cst.MaybeSentinel.DEFAULT
    usual = between[0] if between else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    result = []
    for index, one in enumerate(made):
        comma = last if index == len(made) - 1 else between[index] if index < len(between) else usual
        after = like[-1].whitespace_after_arg if like and index == len(made) - 1 else cst.SimpleWhitespace("")
        result.append(one.with_changes(comma=_with_own_comment(comma, one.comma), whitespace_after_arg=after))
    return result


def _with_own_comment(
    place: cst.Comma | cst.MaybeSentinel, own: cst.Comma | cst.MaybeSentinel
) -> cst.Comma | cst.MaybeSentinel:
    """The comma of a place, with the comment that stands behind the thing itself."""
    held = own.whitespace_after if isinstance(own, cst.Comma) else None
    line = held.first_line if isinstance(held, cst.ParenthesizedWhitespace) else None
    if isinstance(place, cst.Comma) and isinstance(place.whitespace_after, cst.ParenthesizedWhitespace):
        own_line = line if line is not None else cst.TrailingWhitespace()
        return place.with_changes(whitespace_after=place.whitespace_after.with_changes(first_line=own_line))
    return own if line is not None and line.comment is not None else place


def with_parameters(params: cst.Parameters, new: list[Parameter]) -> cst.Parameters:
    """The parameter list with new parameters. Raises `RefusedError` where one that collects arguments has a default."""
    old = parameters_of(params)
    between = [one.node.comma for one in old[:-1]]
    last = old[-1].node.comma if old else cst.MaybeSentinel.DEFAULT
    usual = next((one for one in between if isinstance(one, cst.Comma)), cst.MaybeSentinel.DEFAULT)
    nodes = []
    for index, one in enumerate(new):
        comma = last if index == len(new) - 1 else between[index] if index < len(between) else usual
        nodes.append(replace(one, node=one.node.with_changes(comma=_with_own_comment(comma, one.node.comma))))

    for one in nodes:
        if one.kind not in ("only", "both", "key") and one.node.default is not None:
            raise RefusedError(
                f"{one.node.name.value} collects arguments and takes no default.",
                hint="Name a plain parameter.",
            )

    def of(kind: str) -> list[cst.Param]:
        return [one.node for one in nodes if one.kind == kind]

    words = of("key")
    star = of("star")
    bare = cst.ParamStar() if words and not star else cst.MaybeSentinel.DEFAULT
    kept = params.star_arg if isinstance(params.star_arg, cst.ParamStar) and words else bare
    only = of("only")
    return params.with_changes(
        posonly_params=only,
        posonly_ind=params.posonly_ind if only else cst.MaybeSentinel.DEFAULT,
        params=of("both"),
        star_arg=star[0] if star else kept,
        kwonly_params=words,
        star_kwarg=next(iter(of("stars")), None),
    )
