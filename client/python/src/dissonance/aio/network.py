"""A network that can be asked."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Unpack

from ..activations import Activations
from ..generations import GenerateOptions, Generations, Piece, SamplingOptions
from ..inputs import Continuation, Prompts, chat_message
from ..places import Blocks, Positions
from ..readings import Comparison, Lens, Patches
from ..results import Scores
from ..tensors import DType
from ..v1 import inference_pb2
from ..variant import Variant
from .text import Candidates, detokenize, token_texts, tokenize

if TYPE_CHECKING:
    from .client import Client


@dataclass(frozen=True)
class Network(Variant):
    """A Variant of a server: steer() and the like give another Network.

    What is asked of several networks at once is asked of the Client.
    """

    client: Client = dataclasses.field(repr=False, compare=False, kw_only=True)

    async def tokenize(self, text: str, *, special_tokens: bool = True) -> list[int]:
        """Token ids, with the tokenizer's special tokens unless told otherwise."""
        transport = self.client._transport
        response = await tokenize(transport, self.model, text, special_tokens)
        return list(response.ids)

    async def pieces(self, text: str, *, special_tokens: bool = True) -> list[str]:
        """The vocabulary's entry of each token of a text."""
        transport = self.client._transport
        response = await tokenize(transport, self.model, text, special_tokens)
        return list(response.pieces)

    async def detokenize(
        self, ids: Sequence[int], *, special_tokens: bool = True
    ) -> str:
        """The text of token ids; cut characters become U+FFFD."""
        return await detokenize(self.client._transport, self.model, ids, special_tokens)

    async def token_texts(self, ids: Sequence[int]) -> list[str]:
        """What each token adds to a text; parts of a character become U+FFFD."""
        return await token_texts(self.client._transport, self.model, ids)

    async def render_chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        add_generation_prompt: bool = True,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[str, list[int]]:
        """A chat by the model's own template: text and token ids.

        Raises InvalidArgument with the template's message where it refuses.
        """
        chat = chat_message(messages, add_generation_prompt, template_kwargs)
        response = await self.client._transport.call(
            "Inference/RenderChat",
            inference_pb2.RenderChatRequest(model=self.model, chat=chat),
            inference_pb2.RenderChatResponse,
        )
        return response.text, list(response.ids)

    async def score(
        self,
        prompts: Prompts,
        continuations: Sequence[Continuation] | None = None,
        *,
        dropout_samples: int = 0,
        seed: int = 0,
    ) -> Scores:
        """See Client.score."""
        return await self.client.score(
            self, prompts, continuations, dropout_samples=dropout_samples, seed=seed
        )

    async def generate(
        self, prompts: Prompts, **options: Unpack[GenerateOptions]
    ) -> Generations:
        """See Client.generate."""
        return await self.client.generate(self, prompts, **options)

    async def stream(
        self, prompts: Prompts, **options: Unpack[SamplingOptions]
    ) -> AsyncIterator[Piece]:
        """See Client.stream."""
        async for piece in self.client.stream(self, prompts, **options):
            yield piece

    async def activations(
        self,
        prompts: Prompts,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        mean: bool = False,
        dtype: DType | None = None,
        **generation: Unpack[SamplingOptions],
    ) -> Activations:
        """See Client.activations."""
        found = await self.client.activations(
            self,
            prompts,
            sites=sites,
            blocks=blocks,
            positions=positions,
            mean=mean,
            dtype=dtype,
            **generation,
        )
        return found[0]

    async def lens(
        self,
        prompts: Prompts,
        candidates: Candidates | None = None,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        top_k: int = 1,
    ) -> Lens:
        """See Client.lens."""
        return await self.client.lens(
            self,
            prompts,
            candidates,
            sites=sites,
            blocks=blocks,
            positions=positions,
            top_k=top_k,
        )

    async def compare(
        self,
        others: Variant | Iterable[Variant],
        prompts: Prompts,
        *,
        positions: Positions = "prompt",
        top_k: int = 1,
    ) -> Comparison:
        """How far others are from this network; see Client.compare."""
        all_others = [others] if isinstance(others, Variant) else list(others)
        return await self.client.compare(
            [self, *all_others], prompts, positions=positions, top_k=top_k
        )

    async def patch(
        self,
        source: Variant,
        prompts: Prompts,
        candidates: Candidates,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        each_head: bool = False,
        method: Literal["exact", "attribution"] = "exact",
        source_prompts: Prompts | None = None,
    ) -> Patches:
        """Rows of `source` put into this network; see Client.patch."""
        return await self.client.patch(
            source,
            self,
            prompts,
            candidates,
            sites=sites,
            blocks=blocks,
            positions=positions,
            each_head=each_head,
            method=method,
            source_prompts=source_prompts,
        )
