"""Random Llama models and PEFT adapters of a given size, from a fixed seed.

The directories hold config.json and safetensors and no tokenizer: the
benchmarks work on token ids.

    python bench/make_model.py build/bench/models
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

SEED = 17
# Wider than the usual 0.02, so that log-probabilities differ visibly.
WEIGHT_STD = 0.04


@dataclass(frozen=True)
class Shape:
    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int


LARGE = Shape("llama-125m", 768, 12, 12, 4, 2048, 32000)
LARGEST = Shape("llama-600m", 1536, 20, 24, 8, 4096, 32000)
SMALL = Shape("llama-tiny", 64, 2, 4, 2, 128, 512)


def make_model(shape: Shape, folder: Path) -> Path:
    """The model's directory, made unless it is there; float32."""
    path = folder / shape.name
    if (path / "model.safetensors").exists():
        return path
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            intermediate_size=shape.intermediate,
            vocab_size=shape.vocab,
            max_position_embeddings=2048,
            tie_word_embeddings=False,
            initializer_range=WEIGHT_STD,
            dtype=torch.float32,
        )
    )
    model.save_pretrained(path)
    return path


def make_adapter(model_path: Path, number: int, rank: int) -> Path:
    """A LoRA adapter on q, k, v and o whose effect is not zero."""
    path = model_path.parent / f"{model_path.name}-r{rank}-{number}"
    if (path / "adapter_model.safetensors").exists():
        return path
    torch.manual_seed(SEED + 1 + number)
    model = LlamaForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            task_type="CAUSAL_LM",
            init_lora_weights=False,
        ),
    )
    adapted.save_pretrained(path)
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
