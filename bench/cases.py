"""All cases, by name."""

import capturing
import generating
import gpu
import scoring
import serving
import streaming
from context import Case

CASES = {
    "mcq": Case("multiple-choice scoring", 20, scoring.mcq),
    "lora": Case("scoring rows of different adapters", 2, scoring.lora),
    "adapters": Case("generation, 8 adapters", 15, generating.adapters),
    "steering": Case("generation, 16 steerings", 25, generating.steering),
    "single": Case("generation, one stream", 4, generating.single),
    "llama": Case("prefill and one stream", 6, generating.llama),
    "capture": Case("all layers at the decision token", 5, capturing.capture),
    "stream": Case("activation stream and TCP", 3, streaming.stream),
    "gaps": Case("token gap beside other work", 2, streaming.gaps),
    "overhead": Case("time that the server adds", 1, serving.overhead),
    "footprint": Case("idle memory and start", 2, serving.footprint),
    **gpu.CASES,
}
