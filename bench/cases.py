"""All cases, by name."""

import capturing
import generating
import gpu
import probing
import scoring
import serving
import streaming
import sweeping
import training
from context import Case

CASES = {
    "mcq": Case("multiple-choice scoring", 12, scoring.mcq),
    "lora": Case("scoring rows of different adapters", 1, scoring.lora),
    "adapters": Case("generation, 8 adapters", 14, generating.adapters),
    "steering": Case("generation, 16 steerings", 18, generating.steering),
    "sweep": Case("steering sweep over questions", 25, sweeping.sweep),
    "single": Case("generation, one stream", 2, generating.single),
    "llama": Case("prefill and one stream", 4, generating.llama),
    "capture": Case("all layers at the decision token", 4, capturing.capture),
    "stream": Case("activation stream and TCP", 2, streaming.stream),
    "gaps": Case("token gap beside other work", 1, streaming.gaps),
    "train-ragged": Case(
        "training, lengths as of real texts", 6, training.train_ragged
    ),
    "train-equal": Case("training, equal lengths", 8, training.train_equal),
    "probes": Case("probes of all blocks", 2, probing.probes),
    "gpu-probes": Case(
        "probes of a large model on a GPU",
        3,
        probing.gpu_probes,
        needs_gpu=True,
    ),
    "probe-sizes": Case(
        "probes of a large model, and of more rows", 4, probing.probe_sizes
    ),
    "overhead": Case("time that the server adds", 1, serving.overhead),
    "footprint": Case("idle memory and start", 2, serving.footprint),
    **gpu.CASES,
}
