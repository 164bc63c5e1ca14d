"""The peer of generation: Hugging Face's generate, one prompt after another.

Adapters come from PEFT, steering from forward hooks.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from items import Generation, Prompt
from peft import PeftModel
from transformers import LlamaForCausalLM


Using = Callable[[Prompt], AbstractContextManager]


class Generator:
    """`using` makes the network ready for a prompt, and takes that back."""

    def __init__(
        self,
        model: LlamaForCausalLM | PeftModel,
        using: Using = lambda _: nullcontext(),
    ):
        self._model = model
        self._using = using
        # Nothing ends a text but its length.
        model.generation_config.eos_token_id = None
        model.generation_config.pad_token_id = 0

    @torch.inference_mode()
    def generate(
        self, prompts: list[Prompt], new_tokens: int
    ) -> list[list[int]]:
        """The new tokens of each prompt."""
        generated = []
        for prompt in prompts:
            ids = torch.tensor([prompt.tokens], device=self._model.device)
            with self._using(prompt):
                output = self._model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=new_tokens,
                    do_sample=False,
                )
            generated.append(output[0, ids.shape[1] :].tolist())
        return generated

    @torch.inference_mode()
    def difference(
        self,
        prompts: list[Prompt],
        theirs: list[list[int]],
        ours: list[Generation],
    ) -> float:
        """How far our tokens are from what this network would choose.

        Near ties fall either way, and two texts that parted can't be compared.
        So this network reads our text in one pass: each token must be the most
        likely one, and have the log-probability that we gave. The larger
        distance counts.
        """
        worst = 0.0
        for prompt, their, our in zip(prompts, theirs, ours, strict=True):
            if len(their) != len(our.tokens):
                return float("inf")
            ids = prompt.tokens + our.tokens[:-1]
            with self._using(prompt):
                logits = self._model(
                    input_ids=torch.tensor([ids], device=self._model.device),
                    logits_to_keep=len(our.tokens),
                ).logits[0]
            worst = max(worst, distance(logits.cpu(), our))
        return worst


class Batch(Generator):
    """All prompts, which have one length, in one batch."""

    @torch.inference_mode()
    def generate(
        self, prompts: list[Prompt], new_tokens: int, **options
    ) -> list[list[int]]:
        ids = torch.tensor(
            [prompt.tokens for prompt in prompts], device=self._model.device
        )
        output = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            do_sample=False,
            **options,
        )
        return output[:, ids.shape[1] :].tolist()


class MixedBatch(Batch):
    """Rows of different adapters in one batch of PEFT's."""

    def __init__(self, model: PeftModel):
        super().__init__(model, selecting(model))

    def generate(
        self, prompts: list[Prompt], new_tokens: int
    ) -> list[list[int]]:
        names = [str(prompt.adapter) for prompt in prompts]
        return super().generate(prompts, new_tokens, adapter_names=names)


class ContinuousBatch(Generator):
    """Hugging Face's continuous batching. Close it: its cache takes most of a
    GPU's memory."""

    def close(self) -> None:
        self._model.destroy_cached_continuous_batching_manager()

    def generate(
        self, prompts: list[Prompt], new_tokens: int
    ) -> list[list[int]]:
        options = copy.deepcopy(self._model.generation_config)
        options.max_new_tokens, options.do_sample = new_tokens, False
        outputs = self._model.generate_batch(
            [prompt.tokens for prompt in prompts],
            generation_config=options,
            persistent_manager=True,
        )
        # Of the requests in their order.
        return [output.generated_tokens for output in outputs.values()]


def distance(logits: torch.Tensor, ours: Generation) -> float:
    """Of our tokens from logits [tokens, vocab] of a network that reads them,
    nats."""
    logprobs = torch.log_softmax(logits.double(), dim=-1)
    chosen = logprobs[torch.arange(len(ours.tokens)), torch.tensor(ours.tokens)]
    from_best = (logprobs.max(dim=-1).values - chosen).max()
    from_given = (chosen - torch.tensor(ours.logprobs).double()).abs().max()
    return max(from_best.item(), from_given.item())


def selecting(model: PeftModel) -> Using:
    """A prompt's adapter, named by its number."""

    @contextmanager
    def using(prompt: Prompt) -> Iterator[None]:
        model.set_adapter(str(prompt.adapter))
        yield

    return using


def steered(model: LlamaForCausalLM) -> Using:
    """A prompt's steering."""

    @contextmanager
    def using(prompt: Prompt) -> Iterator[None]:
        steering = prompt.steering
        added = steering.coefficient * torch.tensor(
            steering.vector, device=model.device, dtype=model.dtype
        )
        handles = [
            model.model.layers[block].register_forward_hook(
                lambda _module, _inputs, output: output + added
            )
            for block in steering.blocks
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    return using
