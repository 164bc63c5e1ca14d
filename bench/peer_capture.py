"""The peers of capture: what each layer holds at a prompt's last token.

Both pad a batch on the right, where causal attention never looks, and return
of each prompt the rows of all layers, one behind another.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from peers import load, padded
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.llama import (
    convert_llama_weights,
)
from transformers import LlamaForCausalLM

Rows = list[list[float]]
Capture = Callable[[list[list[int]]], Rows]


def last_rows(prompts: list[list[int]], layers: list[torch.Tensor]) -> Rows:
    """Of layers [prompts, longest, width]."""
    prompt = torch.arange(len(prompts))
    last = torch.tensor([len(tokens) - 1 for tokens in prompts])
    rows = torch.stack([layer[prompt, last] for layer in layers], dim=1)
    return rows.flatten(1).tolist()


def hidden_states(model: LlamaForCausalLM) -> Capture:
    """Hugging Face's output_hidden_states, without the logits: the embedding,
    behind each block but the last, and the final norm."""

    @torch.inference_mode()
    def run(prompts: list[list[int]]) -> Rows:
        ids, mask = padded(prompts)
        output = model.model(
            input_ids=ids,
            attention_mask=mask,
            use_cache=False,
            output_hidden_states=True,
        )
        return last_rows(prompts, output.hidden_states)

    return run


def run_with_cache(path: Path) -> Capture:
    """TransformerLens, which keeps only what is asked for and computes no
    logits: the embedding and behind each block."""
    model = hooked_transformer(path)
    names = ["blocks.0.hook_resid_pre"] + [
        f"blocks.{block}.hook_resid_post" for block in range(model.cfg.n_layers)
    ]

    @torch.inference_mode()
    def run(prompts: list[list[int]]) -> Rows:
        ids, _ = padded(prompts)
        _, cache = model.run_with_cache(
            ids, names_filter=names, return_type=None
        )
        return last_rows(prompts, [cache[name] for name in names])

    return run


def hooked_transformer(path: Path) -> HookedTransformer:
    """With the weights as they are, as from_pretrained_no_processing has them,
    which knows models by name only."""
    model = load(path)
    config = model.config
    hooked = HookedTransformer(
        HookedTransformerConfig(
            act_fn="silu",
            d_head=config.head_dim,
            d_mlp=config.intermediate_size,
            d_model=config.hidden_size,
            d_vocab=config.vocab_size,
            device="cpu",
            dtype=torch.float32,
            eps=config.rms_norm_eps,
            final_rms=True,
            gated_mlp=True,
            n_ctx=config.max_position_embeddings,
            n_heads=config.num_attention_heads,
            n_key_value_heads=config.num_key_value_heads,
            n_layers=config.num_hidden_layers,
            normalization_type="RMS",
            original_architecture="LlamaForCausalLM",
            positional_embedding_type="rotary",
            rotary_adjacent_pairs=False,
            rotary_base=config.rope_parameters["rope_theta"],
            rotary_dim=config.head_dim,
        )
    )
    hooked.load_and_process_state_dict(
        convert_llama_weights(model, hooked.cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
        refactor_factored_attn_matrices=False,
    )
    return hooked.eval()
