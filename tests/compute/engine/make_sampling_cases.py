"""Makes sampling_cases.json: which tokens transformers' logits warpers leave
and how likely each is, for random logits. Needs transformers and torch:

    python make_sampling_cases.py > sampling_cases.json
"""

import json

import torch
from transformers import LogitsProcessorList
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCAB = 24


def case(generator, options):
    logits = torch.randn(1, VOCAB, dtype=torch.float64, generator=generator) * 3
    tokens = torch.randint(0, VOCAB, (1, 6), generator=generator)
    # The order in which transformers' generate() applies them.
    steps = []
    if options["repetition_penalty"] != 1.0:
        steps.append(RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    steps.append(TemperatureLogitsWarper(options["temperature"]))
    if options["top_k"] > 0:
        steps.append(TopKLogitsWarper(options["top_k"]))
    if options["top_p"] < 1.0:
        steps.append(TopPLogitsWarper(options["top_p"]))
    if options["min_p"] > 0.0:
        steps.append(MinPLogitsWarper(options["min_p"]))
    scores = LogitsProcessorList(steps)(tokens, logits.clone())
    return {
        "options": options,
        "tokens": tokens[0].tolist(),
        "logits": logits[0].tolist(),
        "probabilities": torch.softmax(scores, -1)[0].tolist(),
    }


def main():
    generator = torch.Generator().manual_seed(11)
    cases = []
    for temperature in (0.5, 1.0, 1.7):
        for top_k, top_p, min_p, penalty in (
            (0, 1.0, 0.0, 1.0),
            (5, 1.0, 0.0, 1.0),
            (0, 0.7, 0.0, 1.0),
            (0, 1.0, 0.2, 1.0),
            (0, 1.0, 0.0, 1.4),
            (12, 0.9, 0.05, 1.2),
        ):
            options = {
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "min_p": min_p,
                "repetition_penalty": penalty,
            }
            cases.append(case(generator, options))
    print(json.dumps(cases, indent=1))


if __name__ == "__main__":
    main()
