"""Programs that speak OpenAI's API, against a server that is running.

    python openai_clients.py URL TOKENIZER_DIR MODEL... < QUESTIONS

QUESTIONS are lines {prompt, choices, answer}. Prints a JSON object: under
"lm_eval" for each model the log-probability and greediness of each choice that
lm-evaluation-harness got, under "openai" and "inspect" what those packages
made of the first question. The token is in OPENAI_API_KEY.
"""

import json
import os
import sys
import tempfile


def lm_eval_scores(url, tokenizer, model, questions):
    import lm_eval
    from lm_eval.api.task import ConfigurableTask

    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "questions.jsonl")
        with open(data, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(q) + "\n" for q in questions)
        task = ConfigurableTask(config={
            "task": "questions",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": data},
                               "cache_dir": folder},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{prompt}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "answer",
            "target_delimiter": "",
            "metric_list": [{"metric": "acc"}],
        })
        result = lm_eval.simple_evaluate(
            model="local-completions",
            model_args={"model": model, "base_url": url + "/completions",
                        "tokenizer": tokenizer, "max_length": 511,
                        "num_concurrent": 2, "batch_size": 3},
            tasks=[task], log_samples=True, bootstrap_iters=0)
    samples = sorted(result["samples"]["questions"], key=lambda s: s["doc_id"])
    return [[list(choice) for choice in sample["filtered_resps"]]
            for sample in samples]


def openai_answers(url, model, question):
    import openai

    client = openai.OpenAI(base_url=url, max_retries=0)
    messages = [{"role": "user", "content": question["prompt"]}]
    whole = client.chat.completions.create(
        model=model, messages=messages, temperature=0, logprobs=True,
        top_logprobs=2)
    stream = client.chat.completions.create(
        model=model, messages=messages, temperature=0, stream=True,
        stream_options={"include_usage": True})
    text, usage = "", None
    for chunk in stream:
        text += "".join(c.delta.content or "" for c in chunk.choices)
        usage = chunk.usage or usage
    steered = client.completions.create(
        model=model, prompt=question["prompt"], max_tokens=4, temperature=0,
        extra_body={"interventions": [{"site": "SITE_RESID_POST", "blocks": [2],
                                       "scale": {"factor": -1}}]})
    try:
        client.with_options(api_key="wrong").models.list()
        refused = ""
    except openai.AuthenticationError as error:
        refused = error.code
    return {"models": [m.id for m in client.models.list()],
            "text": whole.choices[0].message.content,
            "streamed": text,
            "usage": [whole.usage.total_tokens, usage.total_tokens],
            "top": whole.choices[0].logprobs.content[0].top_logprobs[0].token,
            "steered": steered.choices[0].text,
            "refused": refused}


def inspect_answer(url, model, question):
    import inspect_ai
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    task = inspect_ai.Task(
        dataset=[Sample(input=question["prompt"],
                        target=question["choices"][question["answer"]].strip())],
        solver=generate(), scorer=includes())
    with tempfile.TemporaryDirectory() as folder:
        log = inspect_ai.eval(
            task, log_dir=folder, display="none",
            model=get_model("openai-api/dissonance/" + model, base_url=url,
                            api_key=os.environ["OPENAI_API_KEY"],
                            config=GenerateConfig(temperature=0)))[0]
        # Samples are read from the log when they are looked at.
        return {"status": log.status,
                "text": log.samples[0].output.completion,
                "score": log.samples[0].scores["includes"].value}


def main():
    url, tokenizer, *models = sys.argv[1:]
    questions = [json.loads(line) for line in sys.stdin]
    out = {"lm_eval": {m: lm_eval_scores(url, tokenizer, m, questions)
                       for m in models},
           "openai": openai_answers(url, models[0], questions[0]),
           "inspect": inspect_answer(url, models[0], questions[0])}
    # The last line: the packages print, too.
    print(json.dumps(out))


if __name__ == "__main__":
    main()
