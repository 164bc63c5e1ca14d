"""Random models of every family against transformers, on token ids.

The goldens hold one model of each family. This tries configurations that they
lack: other switches, windows, widths, tied embeddings, experts. Each model is
saved by transformers itself, loaded through the command line of a server of
its own, and compared in log-probabilities of continuations.

    .venv-peers/bin/python tools/compare_families.py [--bin build/release/bin]

Prints the largest difference in nats of each; exits 1 if one in float32 is
above 1e-4. bfloat16 is printed for the eye: both sides round at other places,
and a row may choose another expert.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

VOCAB = 300
LIMIT = 1e-4  # nats, float32
COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "pad_token_id": None,
}
EXPERTS = {"num_experts_per_tok": 2, "num_key_value_heads": 2}

# Family's class in transformers, and what its configuration says besides.
CASES = [
    ("Llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 24}),
    ("Mistral", {"num_key_value_heads": 1, "sliding_window": None}),
    ("Qwen2", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 2}),
    ("Qwen3", {"attention_bias": True, "head_dim": 16, "num_key_value_heads": 2}),
    (
        "Qwen3Moe",
        EXPERTS
        | {
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 40,
            "decoder_sparse_step": 2,
            "mlp_only_layers": [3],
            "head_dim": 16,
        },
    ),
    (
        "Qwen3Moe",
        EXPERTS
        | {
            "num_experts": 4,
            "moe_intermediate_size": 40,
            "norm_topk_prob": True,
            "use_sliding_window": True,
            "sliding_window": 7,
            "head_dim": 16,
        },
    ),
    ("Mixtral", EXPERTS | {"num_local_experts": 3, "sliding_window": 11}),
    ("Mixtral", {"num_local_experts": 6, "num_experts_per_tok": 1, "tie_word_embeddings": True}),
    (
        "Gemma2",
        {
            "num_key_value_heads": 1,
            "head_dim": 32,
            "query_pre_attn_scalar": 10,
            "sliding_window": 6,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": 3.0,
        },
    ),
    (
        "Gemma2",
        {
            "head_dim": 20,
            "attention_bias": True,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": None,
        },
    ),
    (
        "Gemma3Text",
        {
            "num_hidden_layers": 7,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "query_pre_attn_scalar": 30,
            "sliding_window": 8,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0},
            "rope_theta": 50000.0,
            "rope_local_base_freq": 700.0,
        },
    ),
    ("GPT2", {"n_embd": 64, "n_layer": 3, "n_head": 2, "n_positions": 256, "n_inner": 100, "activation_function": "gelu"}),
    ("GPTNeoX", {"use_parallel_residual": False, "rotary_pct": 0.5, "attention_bias": False}),
    ("GPTNeoX", {"rotary_pct": 1.0, "tie_word_embeddings": True, "hidden_act": "gelu_new"}),
    ("Phi3", {"num_key_value_heads": 2, "partial_rotary_factor": 0.5, "pad_token_id": 0, "eos_token_id": 1}),
    ("Olmo2", {"num_key_value_heads": 2, "rms_norm_eps": 1e-3, "rope_theta": 2000.0}),
]


class Server:
    """A server of our own, by its command line."""

    def __init__(self, binaries: Path, folder: Path):
        self._program = str(binaries / "dissonance")
        self._environment = os.environ | {"DISSONANCE_DATA_DIR": str(folder)}

    def __enter__(self):
        self.run("server", "start", "--listen", "unix")
        return self

    def __exit__(self, *_):
        self.run("server", "stop")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return done.stdout


def make_model(family: str, settings: dict, dtype: torch.dtype):
    common = {"vocab_size": VOCAB} if family == "GPT2" else COMMON
    config = getattr(transformers, family + "Config")(**(common | settings))
    # Its other kernels leave soft caps out.
    config._attn_implementation = "eager"
    torch.manual_seed(3)
    model = getattr(
        transformers,
        family.removesuffix("Text")
        + ("LMHeadModel" if family == "GPT2" else "ForCausalLM"),
    )(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            is_norm = weight.dim() == 1 and name.endswith("weight")
            offset = 1.0 if is_norm and "Gemma" not in family else 0.0
            weight.copy_(torch.randn_like(weight) * 0.2 + offset)
    model.tie_weights()
    return model.to(dtype).eval()


def make_rows() -> list[dict]:
    generator = torch.Generator().manual_seed(1)

    def ids(count):
        return torch.randint(0, VOCAB, (count,), generator=generator).tolist()

    return [
        {"tokens": ids(length), "continuations": [{"tokens": ids(n)} for n in (1, 3)]}
        for length in (1, 5, 40)
    ]


def peer_scores(model, rows: list[dict]) -> list[float]:
    scores = []
    for row in rows:
        for continuation in row["continuations"]:
            target = continuation["tokens"]
            ids = torch.tensor([row["tokens"] + target])
            with torch.no_grad():
                logits = model(ids, use_cache=False).logits[0].float()
            logprobs = torch.log_softmax(logits, -1)[len(row["tokens"]) - 1 :]
            scores.append(sum(logprobs[i, t].item() for i, t in enumerate(target)))
    return scores


def own_scores(server: Server, model, rows: list[dict], folder: Path) -> list[float]:
    model.save_pretrained(folder / "model")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dtype = str(model.dtype).removeprefix("torch.")
    server.run("models", "load", str(folder / "model"), "--name", "m", "--dtype", dtype)
    try:
        lines = server.run(
            "score", "--model", "m", "--input", str(folder / "rows.jsonl"), "-o", "jsonl"
        )
    finally:
        server.run("models", "unload", "m")
    return [
        continuation["logprob"]
        for line in lines.splitlines()
        for continuation in json.loads(line)["continuations"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=Path, default=Path("build/release/bin"))
    binaries = parser.parse_args().bin
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rows = make_rows()
    failed = 0
    with tempfile.TemporaryDirectory() as data, Server(binaries, Path(data) / "data") as server:
        for family, settings in CASES:
            differences = []
            for dtype in (torch.float32, torch.bfloat16):
                with tempfile.TemporaryDirectory() as folder:
                    model = make_model(family, settings, dtype)
                    own = own_scores(server, model, rows, Path(folder))
                    differences.append(
                        max(abs(a - b) for a, b in zip(own, peer_scores(model, rows), strict=True))
                    )
            bad = differences[0] > LIMIT
            failed += bad
            print(
                f"{family:10}  float32 {differences[0]:.1e}  bfloat16 {differences[1]:.1e}"
                f"  {'DIFFERS' if bad else 'ok'}  {json.dumps(settings)}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
