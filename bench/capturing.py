"""Capture on the engine: all layers' residual stream at the decision token."""

import peer_capture
import peers
from context import Bench
from engine import EngineProcess, Place
from harness import Comparison
from items import prompts
from make_model import LARGE, SMALL, make_model, parameter_count

# Largest difference of a component, where their size is about 1 to 20.
TOLERANCE = 1e-3


def capture(bench: Bench) -> None:
    """Ragged prompts, all submitted at once."""
    shape = bench.pick(LARGE, SMALL)
    count = bench.pick(16, 4)
    lengths = bench.pick((32, 256), (8, 24))
    path = make_model(shape, bench.models)
    blocks = range(shape.layers)
    # What the peers return: the one has the final norm, the other what goes
    # into it.
    before: list[Place] = [("resid_pre", block) for block in blocks]
    behind: list[Place] = [("resid_post", block) for block in blocks]
    with EngineProcess(bench.binaries, path) as engine:
        for peer, run, places, target in (
            (
                "HF output_hidden_states, padded",
                peer_capture.hidden_states(peers.load(path)),
                [*before, ("final_norm", -1)],
                1.2,
            ),
            (
                "TransformerLens run_with_cache",
                peer_capture.run_with_cache(path),
                [("resid_pre", 0), *behind],
                2.5,
            ),
        ):
            bench.compare(
                Comparison(
                    case="all layers at the decision token",
                    peer=peer,
                    inputs=lambda pair: prompts(
                        pair, count, lengths, shape.vocab
                    ),
                    run_peer=run,
                    run_ours=lambda ids: engine.capture(ids, places),
                    tolerance=TOLERANCE,
                    target=target,
                    sizes={
                        "layers": len(places),
                        "parameters": parameter_count(path),
                        "prompt_tokens": lengths,
                        "prompts": count,
                    },
                )
            )
