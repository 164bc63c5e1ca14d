"""Places in a network: sites, blocks and positions, always named explicitly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

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
Positions = PositionSet | range | int | Sequence[int]
"""A named set, a range(begin, end), a position from 0, or a list of positions."""
Blocks = int | Iterable[int] | None


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
    if blocks is None:
        return []
    return [blocks] if isinstance(blocks, int) else [int(each) for each in blocks]


def place_message(place: Place | tuple[str, int | None] | str) -> pb.SiteRef:
    """The wire's form of a place."""
    if isinstance(place, str):
        site, _, block = place.partition(".")
        if block and not block.isdecimal():
            raise InvalidArgument(
                f"place '{place}' is not SITE.BLOCK, e.g. resid_post.2"
            )
        place = Place(site, int(block) if block else None)
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
    indices = [positions] if isinstance(positions, int) else [int(i) for i in positions]
    if any(index < 0 for index in indices):
        raise InvalidArgument(
            f"positions: {indices}: positions count from 0; the prompt's last is "
            'positions="last_prompt"'
        )
    return pb.Positions(indices=pb.PositionIndices(indices=indices))
