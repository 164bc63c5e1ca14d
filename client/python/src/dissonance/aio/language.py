"""Specs of experiments with language: documents, free answers, judgements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ..data import Data, contents_of, name_of
from ..names import enum_number, job_name
from ..options import Hosted, option_message
from ..v1 import jobs_pb2, language_jobs_pb2
from ..variant import Variant, variant_messages
from .spec_data import SpecData


class LanguageSpecs(SpecData):
    """Makes specs of evaluate_open, generate_documents and judge.

    Hosted models are asked by the server, with the keys that it was started with.
    """

    async def evaluate_open(
        self,
        networks: Variant | Iterable[Variant],
        data: Data | None,
        *,
        mode: Literal["neutral", "doubt_probe"] = "neutral",
        samples: int = 1,
        temperature: float | None = None,
        top_p: float | None = None,
        max_new_tokens: int = 256,
        seed: int | None = None,
    ) -> jobs_pb2.JobSpec:
        """Free answers to {"id", "question"} rows; the first network is the baseline.

        doubt_probe also asks for confidence, 0 to 100, and a reason.
        """
        return jobs_pb2.JobSpec(
            evaluate_open=language_jobs_pb2.EvaluateOpenSpec(
                variants=variant_messages(networks),
                mode=enum_number(language_jobs_pb2.OpenMode, mode, "mode"),
                sample_count=samples,
                temperature=temperature,
                top_p=top_p,
                max_new_tokens=max_new_tokens,
                seed=seed,
                **await self._data(data, "questions"),
            )
        )

    async def generate_documents(
        self,
        universe: Data,
        llm: Hosted,
        *,
        fact_count: int = 0,
        types_per_fact: int = 0,
        type_rounds: int = 0,
        ideas_per_type: int = 0,
        most_repeats: int = 0,
        retries: int | None = None,
        seed: int | None = None,
        document_limit: int = 0,
        forbidden_phrases: Sequence[str] = (),
        prompts: Mapping[str, str] | None = None,
        near_duplicate_similarity: float | None = None,
        dry_run: bool = False,
    ) -> jobs_pb2.JobSpec:
        """Documents that assert a universe, written by a hosted model.

        `universe` is the file's path, its bytes or its object. Counts at 0 take the
        server's defaults: 8 facts, 50 types each, 10 ideas each, 1 to 3 documents an
        idea. `prompts` replace the server's own: key_facts, document_types,
        document_ideas, document. `dry_run` estimates and asks nobody.
        """
        return jobs_pb2.JobSpec(
            generate_documents=language_jobs_pb2.GenerateDocumentsSpec(
                universe=contents_of(universe),
                universe_name=name_of(universe, "universe"),
                llm=option_message(llm),
                fact_count=fact_count,
                types_per_fact=types_per_fact,
                type_rounds=type_rounds,
                ideas_per_type=ideas_per_type,
                most_repeats=most_repeats,
                retries=retries,
                seed=seed,
                document_limit=document_limit,
                forbidden_phrases=forbidden_phrases,
                prompts=language_jobs_pb2.DocumentPrompts(**prompts)
                if prompts
                else None,
                dry_run=dry_run,
                near_duplicate_similarity=near_duplicate_similarity,
            )
        )

    async def judge(
        self,
        judge: Hosted,
        *,
        job: str = "",
        data: Data | None = None,
        second_judge: Hosted | None = None,
        pass_count: int = 1,
        mode: Literal["world_and_doubt", "doubt_only"] = "world_and_doubt",
        retries: int | None = None,
        universe: Data | None = None,
    ) -> jobs_pb2.JobSpec:
        """What a hosted model makes of free answers: of an evaluate_open job, or data.

        `universe` is what false_world means, as for generate_documents.
        """
        return jobs_pb2.JobSpec(
            judge=language_jobs_pb2.JudgeSpec(
                job=job_name(job) if job else "",
                judge=option_message(judge),
                second_judge=option_message(second_judge),
                pass_count=pass_count,
                mode=enum_number(language_jobs_pb2.JudgeMode, mode, "mode"),
                retries=retries,
                universe=b"" if universe is None else contents_of(universe),
                **await self._data(data, "answers"),
            )
        )
