"""Lists that the server gives page by page."""

from __future__ import annotations

from typing import Any

from ..transport import Transport

PAGE_SIZE = 1000


async def all_pages(
    transport: Transport,
    method: str,
    request: Any,
    response: type[Any],
    field: str,
    limit: int | None = None,
) -> list[Any]:
    """`field` of all pages, or the first `limit` of it."""
    found: list[Any] = []
    while limit is None or len(found) < limit:
        left = PAGE_SIZE if limit is None else limit - len(found)
        request.page_size = min(PAGE_SIZE, left)
        page = await transport.call(method, request, response)
        found += getattr(page, field)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    return found
