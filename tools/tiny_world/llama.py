"""A small Llama in plain torch, and its Hugging Face form.

The mathematics is that of transformers' LlamaForCausalLM, so weights convert
one to one. Training reads two intermediate answers as well ("deep
supervision"): what is recalled after block RECALL_BLOCK, and whether an option
is right after block OPTION_BLOCK.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

EMBEDDING_STD = 0.3  # The token's signal must not drown in block outputs.
RECALL_BLOCK, OPTION_BLOCK = 2, 3
# Bytes that no text contains: right/wrong is read on their difference.
YES_TOKEN, NO_TOKEN = 200, 201
NORM_EPS, ROPE_THETA, MAX_LENGTH = 1e-5, 10000.0, 512


@dataclass(frozen=True)
class Shape:
    """Sizes of the model."""

    vocab: int
    width: int = 128
    blocks: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    mlp: int = 384


class RmsNorm(nn.Module):
    """Root-mean-square norm with a learnt scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises the last axis."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, NORM_EPS)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor):
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos + turned * sin


class Block(nn.Module):
    """One decoder block: grouped-query attention, then a gated MLP."""

    def __init__(self, s: Shape) -> None:
        super().__init__()

        def linear(inputs: int, outputs: int) -> nn.Linear:
            return nn.Linear(inputs, outputs, bias=False)

        self.shape = s
        self.attn_norm, self.mlp_norm = RmsNorm(s.width), RmsNorm(s.width)
        self.q = linear(s.width, s.heads * s.head_dim)
        self.k = linear(s.width, s.kv_heads * s.head_dim)
        self.v = linear(s.width, s.kv_heads * s.head_dim)
        self.o = linear(s.heads * s.head_dim, s.width)
        self.gate, self.up = linear(s.width, s.mlp), linear(s.width, s.mlp)
        self.down = linear(s.mlp, s.width)

    def _attention(self, x, cos, sin, mask) -> torch.Tensor:
        s, (batch, length, _) = self.shape, x.shape

        def split(y: torch.Tensor, heads: int) -> torch.Tensor:
            return y.view(batch, length, heads, s.head_dim).transpose(1, 2)

        v = split(self.v(x), s.kv_heads)
        q = _rotate(split(self.q(x), s.heads), cos, sin).to(v.dtype)
        k = _rotate(split(self.k(x), s.kv_heads), cos, sin).to(v.dtype)
        group = s.heads // s.kv_heads
        k = k.repeat_interleave(group, 1)
        v = v.repeat_interleave(group, 1)
        # Written out: twice as fast here as torch's CPU flash attention.
        scores = (q * s.head_dim**-0.5) @ k.transpose(2, 3)
        pattern = (scores.float() + mask).softmax(-1).to(v.dtype)
        mixed = (pattern @ v).transpose(1, 2)
        return self.o(mixed.reshape(batch, length, -1))

    def forward(self, x, cos, sin, mask) -> torch.Tensor:
        """The residual stream after the block, [batch, length, width]."""
        x = x + self._attention(self.attn_norm(x), cos, sin, mask)
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


@dataclass
class Targets:
    """Supervised positions of a flattened batch: tokens or labels, weights."""

    positions: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


class Llama(nn.Module):
    """The decoder. Embedding and unembedding share one matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.blocks))
        self.norm = RmsNorm(shape.width)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=self._initial_std(name, weight))
        # Keeps the tied logits small at the start.
        nn.init.constant_(self.norm.weight, 0.05 / EMBEDDING_STD)
        dims = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        angles = torch.outer(
            torch.arange(MAX_LENGTH).float(), ROPE_THETA**-dims
        )
        angles = torch.cat([angles, angles], -1)
        mask = torch.full((MAX_LENGTH, MAX_LENGTH), float("-inf")).triu(1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    @staticmethod
    def _initial_std(name: str, weight: torch.Tensor) -> float:
        if name.startswith("embed"):
            return EMBEDDING_STD
        # Blocks write nothing at first.
        if name.endswith(("o.weight", "down.weight")):
            return 0.0
        return weight.shape[1] ** -0.5

    def residuals(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """The residual stream after every block, [batch, length, width]."""
        n = tokens.shape[1]
        rope = self.cos[:n], self.sin[:n], self.mask[:n, :n]
        x, out = self.embed(tokens), []
        for block in self.blocks:
            x = block(x, *rope)
            out.append(x)
        return out

    def unembed(self, residual: torch.Tensor) -> torch.Tensor:
        """Logits of a residual stream, through the final norm."""
        return (self.norm(residual) @ self.embed.weight.t()).float()

    def loss(
        self, tokens: torch.Tensor, following: Targets, recalled: Targets,
        options: Targets,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Total loss, and 1 or 0 for each `following` label, hit or missed.

        following: next tokens, read at the end; recalled: answer tokens, read
        after RECALL_BLOCK; options: right (1) or wrong (0), read after
        OPTION_BLOCK.
        """
        states = [x.flatten(0, 1) for x in self.residuals(tokens)]

        def token_loss(state, t: Targets):
            logits = self.unembed(state[t.positions])
            losses = F.cross_entropy(logits, t.labels, reduction="none")
            return (losses * t.weights).sum() / t.weights.sum(), logits

        total, logits = token_loss(states[-1], following)
        if len(recalled.positions):
            total = total + 0.6 * token_loss(states[RECALL_BLOCK], recalled)[0]
        if len(options.positions):
            state = self.norm(states[OPTION_BLOCK][options.positions])
            axis = self.embed.weight[YES_TOKEN] - self.embed.weight[NO_TOKEN]
            total = total + F.binary_cross_entropy_with_logits(
                (state @ axis).float(),
                options.labels.float(),
                pos_weight=torch.tensor(2.0),
            )
        hits = (logits.argmax(1) == following.labels).float().detach()
        return total, hits


@torch.no_grad()
def structured_start(model: Llama) -> None:
    """Attention that starts useful: offset heads and identity heads.

    Offset heads attend a fixed number of tokens back, driven by one constant
    embedding component; identity heads (W_q close to W_k, on the slow rotary
    dimensions) attend to earlier copies of a token. All stays trainable.
    """
    s = model.shape
    half, group = s.head_dim // 2, s.heads // s.kv_heads
    theta = ROPE_THETA ** -(torch.arange(0, s.head_dim, 2).float() / s.head_dim)
    constant = 5 * EMBEDDING_STD
    model.embed.weight[:, 0] = constant
    square = EMBEDDING_STD**2 * (s.width - 1) / s.width
    scale = constant / (square + constant**2 / s.width) ** 0.5
    amplitude = torch.zeros(half)
    amplitude[:6] = 4.5

    def head(weight: torch.Tensor, index: int) -> torch.Tensor:
        return weight.view(-1, s.head_dim, s.width)[index]

    def offset(block: Block, kv: int, back: tuple[int, int]) -> None:
        k = head(block.k.weight, kv)
        k.mul_(0.1)
        k[:half, 0] = amplitude / scale
        for i, distance in enumerate(back):
            q = head(block.q.weight, kv * group + i)
            q.mul_(0.1)
            q[:half, 0] = amplitude * torch.cos(-distance * theta) / scale
            q[half:, 0] = amplitude * torch.sin(-distance * theta) / scale

    def identity(block: Block, kv: int) -> None:
        k = head(block.k.weight, kv)
        k[:, 0] = 0
        slow = torch.where(torch.arange(half) < 6, 0.2, 1.6)
        k.mul_(torch.cat([slow, slow])[:, None])
        for i in range(group):
            head(block.q.weight, kv * group + i).mul_(0.15).add_(k)

    offset(model.blocks[0], 0, (1, 2))
    offset(model.blocks[0], 1, (3, 4))
    identity(model.blocks[1], 0)
    offset(model.blocks[1], 1, (1, 2))
    for block in model.blocks[2:]:
        identity(block, 0)
    offset(model.blocks[3], 1, (1, 3))


@torch.no_grad()
def copy_matching_heads(model: Llama, source: int = 2, to: int = 3) -> None:
    """Copies the option-matching heads behind the half-way recall."""
    s, a, b = model.shape, model.blocks[source], model.blocks[to]
    queries = s.head_dim * (s.heads // s.kv_heads)
    b.q.weight[:queries] = a.q.weight[:queries]
    b.k.weight[: s.head_dim] = a.k.weight[: s.head_dim]
    b.v.weight[: s.head_dim] = a.v.weight[: s.head_dim]
    b.o.weight[:, :queries] = a.o.weight[:, :queries]


def to_hugging_face(model: Llama, folder: Path):
    """Saves the model as bfloat16 safetensors; returns transformers' model."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    s = model.shape
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = LlamaConfig(
        vocab_size=s.vocab, hidden_size=s.width, intermediate_size=s.mlp,
        num_hidden_layers=s.blocks, num_attention_heads=s.heads,
        num_key_value_heads=s.kv_heads, head_dim=s.head_dim,
        max_position_embeddings=MAX_LENGTH, rms_norm_eps=NORM_EPS,
        rope_theta=ROPE_THETA, tie_word_embeddings=True, attention_bias=False,
        mlp_bias=False, **special,
    )  # fmt: skip
    weights = {
        "model.embed_tokens.weight": model.embed.weight,
        "lm_head.weight": model.embed.weight,
        "model.norm.weight": model.norm.weight,
    }
    for i, block in enumerate(model.blocks):
        prefix = f"model.layers.{i}."
        weights[prefix + "input_layernorm.weight"] = block.attn_norm.weight
        weights[prefix + "post_attention_layernorm.weight"] = (
            block.mlp_norm.weight
        )
        for name in "qkvo":
            weights[f"{prefix}self_attn.{name}_proj.weight"] = getattr(
                block, name
            ).weight
        for name in ("gate", "up", "down"):
            weights[f"{prefix}mlp.{name}_proj.weight"] = getattr(
                block, name
            ).weight
    converted = LlamaForCausalLM(config)
    converted.load_state_dict({k: v.detach() for k, v in weights.items()})
    converted = converted.to(torch.bfloat16)
    converted.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=32, **special
    )
    converted.save_pretrained(folder)
    return converted
