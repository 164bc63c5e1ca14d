"""Free answers of an evaluate_open job against transformers, token by token.

Takes the folder that `dissonance eval open --out` wrote, and the directories of
the model and the adapter that answered:

    .venv-peers/bin/python tools/compare_open.py ANSWERS MODEL --adapter ADAPTER

Puts each answer's tokens behind its prompt, runs transformers (and PEFT) over
them in the job's type, and compares the log-probability of each token. Prints
the largest and the mean difference of each network; exits 1 if one exceeds
1e-4 in float32. Networks with interventions are left out.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

LIMIT = 1e-4  # nats, in float32


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def prompt_of(row: dict, form: dict, tokenizer) -> list[int]:
    user = row["question"]
    if row["mode"] == "doubt_probe":
        user += "\n\n" + form["doubt_ending"]
    if not form["chat"]:
        return tokenizer.encode(form["system"] + "\n\n" + user)
    messages = [
        {"role": "system", "content": form["system"]},
        {"role": "user", "content": user},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)


@torch.no_grad()
def logprobs_of(model, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """[answer] in float64."""
    tokens = torch.tensor([prompt + answer], device=model.device)
    logits = model(input_ids=tokens).logits[0, len(prompt) - 1 : -1]
    logprobs = logits.double().log_softmax(-1).cpu()
    return logprobs.gather(1, torch.tensor(answer)[:, None])[:, 0]


def compare(variant: dict, args, form: dict, tokenizer) -> float:
    """The largest difference of a network, which is printed."""
    dtype = variant["provenance"]["dtype"].removeprefix("DTYPE_").lower()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, dtype))
    if variant["adapter"]:
        model = PeftModel.from_pretrained(model, args.adapter)
    model.eval()
    differences = []
    for row in read_lines(args.answers / variant["answers"]):
        prompt = prompt_of(row, form, tokenizer)
        theirs = logprobs_of(model, prompt, row["token_ids"])
        ours = torch.tensor(row["token_logprobs"], dtype=torch.float64)
        differences.append((ours - theirs).abs())
    everything = torch.cat(differences)
    print(
        f"{variant['name']}: {len(differences)} answers, {len(everything)} tokens, {dtype}: "
        f"largest difference {everything.max():.2e}, mean {everything.mean():.2e} nats"
    )
    return float(everything.max()) if dtype == "float32" else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("answers", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--adapter", type=Path)
    args = parser.parse_args()
    manifest = json.loads((args.answers / "manifest.json").read_text())
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.model)
    variants = [each for each in manifest["variants"] if not each["interventions"]]
    worst = max(compare(each, args, manifest["prompt_format"], tokenizer) for each in variants)
    return 1 if worst > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
