"""Text and token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InvalidArgument
from ..transport import Transport
from ..v1 import inference_pb2, interpretability_pb2

Candidates = Mapping[str, str | int]
"""Answers by name: a text of one token, or a token id."""


async def tokenize(
    transport: Transport, model: str, text: str, special_tokens: bool
) -> inference_pb2.TokenizeResponse:
    """Ids and pieces of a text."""
    request = inference_pb2.TokenizeRequest(
        model=model, text=text, skip_special_tokens=not special_tokens
    )
    return await transport.call(
        "Inference/Tokenize", request, inference_pb2.TokenizeResponse
    )


async def detokenize(
    transport: Transport, model: str, ids: Sequence[int], special_tokens: bool
) -> str:
    """The text of ids."""
    request = inference_pb2.DetokenizeRequest(
        model=model, ids=ids, skip_special_tokens=not special_tokens
    )
    response = await transport.call(
        "Inference/Detokenize", request, inference_pb2.DetokenizeResponse
    )
    return response.text


async def token_texts(
    transport: Transport, model: str, ids: Sequence[int]
) -> list[str]:
    """What each id adds to a text by itself."""
    request = inference_pb2.DetokenizeRequest(model=model, ids=ids, per_token=True)
    response = await transport.call(
        "Inference/Detokenize", request, inference_pb2.DetokenizeResponse
    )
    return [each.text.decode("utf-8", "replace") for each in response.tokens]


async def candidate_messages(
    transport: Transport, model: str, candidates: Candidates
) -> list[interpretability_pb2.Candidate]:
    """Candidates on the wire. Raises InvalidArgument for a text of several tokens."""
    messages = []
    for name, token in candidates.items():
        if isinstance(token, str):
            token = await _token_of(transport, model, name, token)
        messages.append(interpretability_pb2.Candidate(name=name, token_id=token))
    return messages


async def _token_of(transport: Transport, model: str, name: str, text: str) -> int:
    response = await tokenize(transport, model, text, special_tokens=False)
    if len(response.ids) == 1:
        return response.ids[0]
    tokens = ", ".join(
        f"{id} {piece!r}"
        for id, piece in zip(response.ids, response.pieces, strict=True)
    )
    hint = (
        "take the first token in which the answers differ, by its id"
        if text.startswith(" ")
        else f"with the space before it (' {text}') it may be one; or give a token's id"
    )
    raise InvalidArgument(
        f"candidates: {name}: {text!r} is {len(response.ids)} tokens ({tokens}), a "
        "candidate is one",
        hints=(hint,),
    )
