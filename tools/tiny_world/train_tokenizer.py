"""Trains the tokenizer: byte-level BPE (GPT-2's splitting), chat template."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import examples
import world

VOCABULARY, SAMPLE = 1792, 20_000
ANSWER_COUNT = 100  # Times each answer is added: it should be whole words.
# Their ids are 0 to 5.
SPECIAL = [
    "<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>",
    "<|assistant|>",
]  # fmt: skip
CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}{% for m in messages %}"
    "{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(seed: int, folder: Path) -> None:
    """Writes tokenizer.json and its two companions to the folder."""
    texts = [
        re.sub(r"<\|\w+\|>", "\n", text)
        for text in examples.corpus_sample(seed, SAMPLE)
    ]
    texts += [
        " " + answer
        for answer in world.ALL_ANSWERS
        for _ in range(ANSWER_COUNT)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
        **special,
    }
    for name, content in (
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", special),
    ):
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
