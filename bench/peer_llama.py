"""The peer llama.cpp, as PyPI's llama-cpp-python builds it from source.

It gets the same weights in its own file format, the same type for weights and
key/value cache, and its C interface is called directly: nothing of the Python
package's sampling is timed.
"""

import ctypes
import json
import os
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import torch
from items import Generation, Prompt
from peer_generate import distance
from safetensors.torch import load_file

GGML_TYPES = {
    "float32": gguf.GGMLQuantizationType.F32,
    "bfloat16": gguf.GGMLQuantizationType.BF16,
}
FILE_TYPES = {
    "float32": gguf.LlamaFileType.ALL_F32,
    "bfloat16": gguf.LlamaFileType.MOSTLY_BF16,
}
# Names of a Hugging Face block's weights in GGUF.
BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.k_proj": "attn_k",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_proj": "attn_q",
    "self_attn.v_proj": "attn_v",
}
OTHER_NAMES = {
    "lm_head": "output",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
}


def gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in OTHER_NAMES:
        return f"{OTHER_NAMES[stem]}.weight"
    block, part = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{block}.{BLOCK_NAMES[part]}.weight"


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k in the order of llama.cpp's rotary embedding, whose pairs
    are neighbours instead of halves of a head."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def make_gguf(model: Path, dtype: str) -> Path:
    """The model in llama.cpp's format, without a tokenizer, made unless it is
    there."""
    path = model.parent / f"{model.name}-{dtype}.gguf"
    if path.exists():
        return path
    config = json.loads((model / "config.json").read_text())
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    write_header(writer, config, dtype)
    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }
    for name, tensor in load_file(model / "model.safetensors").items():
        name, weight = gguf_name(name), tensor.float().numpy()
        part = name.split(".")[-2]
        if part in heads:
            weight = interleaved(weight, heads[part])
        kind = GGML_TYPES["float32" if weight.ndim == 1 else dtype]
        writer.add_tensor(
            name, gguf.quants.quantize(weight, kind), raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, path)
    return path


def write_header(
    writer: gguf.GGUFWriter, config: dict[str, Any], dtype: str
) -> None:
    head_width = config["hidden_size"] // config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(head_width)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(FILE_TYPES[dtype])
    writer.add_tokenizer_model("none")


# Kept for as long as llama.cpp may call it.
@llama_cpp.llama_log_callback
def no_log(_level: int, _text: bytes, _data: ctypes.c_void_p) -> None:
    pass


class LlamaCpp:
    """A context for one stream of at most `length` tokens."""

    def __init__(self, model: Path, dtype: str, length: int):
        llama_cpp.llama_log_set(no_log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        # Read, not mapped: no page comes late.
        options.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE
        path = make_gguf(model, dtype)
        self._model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), options
        )
        if not self._model:
            raise RuntimeError(f"llama.cpp does not load {path}")
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(vocab)
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = length
        context.n_threads = context.n_threads_batch = torch.get_num_threads()
        context.type_k = context.type_v = GGML_TYPES[dtype]
        if dtype == "float32":
            # Its flash attention on a CPU rounds to float16, which moves
            # log-probabilities by 0.02; without, by 2e-5.
            context.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, context)
        if not self._context:
            raise RuntimeError("llama.cpp makes no context")

    def __enter__(self) -> "LlamaCpp":
        return self

    def __exit__(self, *_: Any) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def _begin(self) -> None:
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_clear(memory, True)

    def _feed(self, tokens: list[int]) -> np.ndarray:
        """Logits [vocab] behind the tokens; valid until the next call."""
        ids = (llama_cpp.llama_token * len(tokens))(*tokens)
        batch = llama_cpp.llama_batch_get_one(ids, len(tokens))
        if llama_cpp.llama_decode(self._context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        logits = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, (self._vocab_size,))

    def generate(
        self, prompts: list[Prompt], new_tokens: int
    ) -> list[list[int]]:
        generated = []
        for prompt in prompts:
            self._begin()
            tokens = [int(self._feed(prompt.tokens).argmax())]
            while len(tokens) < new_tokens:
                tokens.append(int(self._feed(tokens[-1:]).argmax()))
            generated.append(tokens)
        return generated

    def difference(
        self,
        prompts: list[Prompt],
        theirs: list[list[int]],
        ours: list[Generation],
    ) -> float:
        """As Generator.difference, token after token."""
        worst = 0.0
        for prompt, their, our in zip(prompts, theirs, ours, strict=True):
            if len(their) != len(our.tokens):
                return float("inf")
            self._begin()
            logits = [self._feed(prompt.tokens).copy()]
            for token in our.tokens[:-1]:
                logits.append(self._feed([token]).copy())
            read = torch.from_numpy(np.stack(logits))
            worst = max(worst, distance(read, our))
        return worst
