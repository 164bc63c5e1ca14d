"""Random Llama models and PEFT adapters of a given size, from a fixed seed.

The directories hold config.json and safetensors and mostly no tokenizer: the
benchmarks work on token ids.

    python bench/make_model.py build/bench/models
"""

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

SEED = 17
# Wider than the usual 0.02, so that log-probabilities differ visibly.
WEIGHT_STD = 0.04
BASE = Path(__file__).resolve().parent.parent / "data/tiny_world/base"
TOKENIZER = [
    BASE / "special_tokens_map.json",
    BASE / "tokenizer.json",
    BASE / "tokenizer_config.json",
]


@dataclass(frozen=True)
class Shape:
    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    tied: bool = False  # embedding and unembedding are one matrix
    words: bool = False  # has TOKENIZER
    dtype: str = "float32"


# Of SmolLM2-135M, and a smaller one like it.
SMOL_135M = Shape("llama-135m", 576, 30, 9, 3, 1536, 49152, tied=True)
SMOL_30M = Shape("llama-30m", 384, 12, 6, 2, 1024, 32000, tied=True)
SMOL_30M_WORDS = Shape(
    "llama-30m-words", 384, 12, 6, 2, 1024, 32000, tied=True, words=True
)
# Of Llama-3.1-8B.
LLAMA_8B = Shape("llama-8b", 4096, 32, 32, 8, 14336, 128256, dtype="bfloat16")
LARGE = Shape("llama-125m", 768, 12, 12, 4, 2048, 32000)
LARGEST = Shape("llama-600m", 1536, 20, 24, 8, 4096, 32000)
SMALL = Shape("llama-tiny", 64, 2, 4, 2, 128, 512)
# With the tokenizer of the shipped model.
WORDS = Shape("llama-28m-words", 512, 10, 8, 2, 1408, 1792, True, words=True)
SMALL_WORDS = Shape("llama-tiny-words", 64, 2, 4, 2, 128, 1792, words=True)


def make_model(shape: Shape, folder: Path) -> Path:
    """The model's directory, made unless it is there."""
    path = folder / shape.name
    if (path / "model.safetensors").exists():
        return path
    torch.manual_seed(SEED)
    # A large model's numbers are drawn in seconds on a GPU.
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=shape.hidden,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.kv_heads,
                intermediate_size=shape.intermediate,
                vocab_size=shape.vocab,
                max_position_embeddings=2048,
                tie_word_embeddings=shape.tied,
                initializer_range=WEIGHT_STD,
                dtype=torch.float32,
            )
        )
    if shape.words:
        path.mkdir(parents=True, exist_ok=True)
        for file in TOKENIZER:
            shutil.copy(file, path)
    model.to(getattr(torch, shape.dtype)).save_pretrained(path)
    return path


def make_adapter(model_path: Path, number: int, rank: int) -> Path:
    """A LoRA adapter on q, k, v and o, as PEFT saves it, whose effect is not
    zero."""
    path = model_path.parent / f"{model_path.name}-r{rank}-{number}"
    if (path / "adapter_model.safetensors").exists():
        return path
    config = LlamaConfig.from_pretrained(model_path)
    heads_width = config.num_attention_heads * config.head_dim
    kv_width = config.num_key_value_heads * config.head_dim
    widths = {  # in, out
        "q_proj": (config.hidden_size, heads_width),
        "k_proj": (config.hidden_size, kv_width),
        "v_proj": (config.hidden_size, kv_width),
        "o_proj": (heads_width, config.hidden_size),
    }
    LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=list(widths),
        task_type="CAUSAL_LM",
    ).save_pretrained(path)
    torch.manual_seed(SEED + 1 + number)
    tensors = {}
    for block in range(config.num_hidden_layers):
        for name, (into, out) in widths.items():
            stem = f"base_model.model.model.layers.{block}.self_attn.{name}"
            for part, shape in (("A", (rank, into)), ("B", (out, rank))):
                values = (2 * torch.rand(shape) - 1) / shape[1] ** 0.5
                tensors[f"{stem}.lora_{part}.weight"] = values
    save_file(tensors, path / "adapter_model.safetensors")
    return path


def parameter_count(model_path: Path) -> int:
    """From the header of the weights, so that nothing is loaded."""
    with open(model_path / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return sum(torch.Size(entry["shape"]).numel() for entry in header.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    arguments = parser.parse_args()
    for shape in (SMALL, LARGE):
        path = make_model(shape, arguments.folder)
        print(f"{path}: {parameter_count(path):,} parameters, float32")
        for number in range(arguments.adapters):
            print(make_adapter(path, number, arguments.rank))


if __name__ == "__main__":
    main()
