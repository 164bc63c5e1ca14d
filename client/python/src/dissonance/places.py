"""Places in a network: sites, blocks and positions, always named explicitly."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, SupportsIndex

from .errors import InvalidArgument
from .names import enum_number, enum_word
from .v1 import common_pb2 as pb

Site = Literal[
    "resid_pre",
    "q",
    "k",
    "v",
    "pattern",
    "z",
    "attn_out",
    "resid_mid",
    "mlp_hidden",
    "mlp_out",
    "resid_post",
    "final_norm",
    "logits",
]
PositionSet = Literal["all", "prompt", "last_prompt", "generated"]
Positions = PositionSet | range | SupportsIndex | Sequence[int]
"""A named set, a range(begin, end), a position from 0, or a list of positions."""
Blocks = SupportsIndex | Iterable[int] | None


_PLACE = re.compile(
    r"(?:blocks\.(?P<before>\d+)\.)?(?P<site>[a-z_]+)(?:\.(?P<block>\d+))?"
)


class Place(NamedTuple):
    """A site and its block; final_norm and logits belong to no block."""

    site: str
    block: int | None = None

    def __str__(self) -> str:
        """ "resid_post.2", as the command line has it."""
        return self.site if self.block is None else f"{self.site}.{self.block}"


def site_number(site: str) -> pb.Site:
    """The wire's value of a site's name."""
    if isinstance(site, int):
        raise InvalidArgument(
            f"site: {site} is no site: a layer's number alone is ambiguous; say "
            f'site="resid_pre", block={site} (hidden_states[{site}] of Hugging Face) '
            f'or site="resid_post", block={site}'
        )
    number: pb.Site = enum_number(pb.Site, site, "site")
    return number


def site_numbers(sites: str | Iterable[str]) -> list[pb.Site]:
    """The wire's values of one site or several."""
    return [
        site_number(each) for each in ([sites] if isinstance(sites, str) else sites)
    ]


def block_numbers(blocks: Blocks) -> list[int]:
    """Blocks as a list; None: empty, which the server takes for all."""
    return [] if blocks is None else _integers(blocks)


def place_message(place: Place | tuple[str, int | None] | str) -> pb.SiteRef:
    """The wire's form of a place: (site, block), "resid_post.2" or as in job files,
    "blocks.2.resid_post".
    """
    if isinstance(place, str):
        found = _PLACE.fullmatch(place)
        if found is None:
            raise InvalidArgument(
                f"place '{place}' is not SITE.BLOCK, e.g. resid_post.2"
            )
        block = found["block"] or found["before"]
        place = Place(found["site"], int(block) if block else None)
    if len(place) != 2:
        raise InvalidArgument(f"place {place} is not (site, block)")
    site, block_number = place
    return pb.SiteRef(site=site_number(site), block=block_number)


def place_of(message: pb.SiteRef) -> Place:
    """A place as the server names it."""
    site = enum_word(pb.Site, message.site)
    in_block = message.HasField("block") and site not in ("final_norm", "logits")
    return Place(site, message.block if in_block else None)


def positions_message(positions: Positions | None) -> pb.Positions | None:
    """The wire's form of positions; None stays unset."""
    if positions is None:
        return None
    if isinstance(positions, str):
        return pb.Positions(set=enum_number(pb.PositionSet, positions, "positions"))
    if isinstance(positions, range) and positions.step == 1:
        return pb.Positions(
            range=pb.PositionRange(begin=positions.start, end=positions.stop)
        )
    indices = _integers(positions)
    if any(index < 0 for index in indices):
        raise InvalidArgument(
            f"positions: {indices}: positions count from 0; the prompt's last is "
            'positions="last_prompt"'
        )
    return pb.Positions(indices=pb.PositionIndices(indices=indices))


def _integers(values: SupportsIndex | Iterable[int]) -> list[int]:
    """One integer or several, numpy's too."""
    if isinstance(values, Iterable):
        return [each.__index__() for each in values]
    return [values.__index__()]
