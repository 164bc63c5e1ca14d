"""What jobs are told: one method for each kind of experiment.

Each gives a JobSpec, for a pipeline's stage or for jobs.submit(); Jobs has the same
methods, which also queue the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..data import Data
from ..names import adapter_name, enum_number, job_name, model_name
from ..options import (
    Checkpoints,
    DirectionMethod,
    Hosted,
    Label,
    Lora,
    McqScoring,
    Probing,
    Training,
    label_message,
    option_message,
)
from ..places import Blocks, Positions, block_numbers, positions_message, site_numbers
from ..tensors import DType, dtype_number
from ..v1 import common_pb2, interp_jobs_pb2, jobs_pb2, probes_pb2, training_pb2
from ..variant import Variant, variant_messages, variants_of
from .language import LanguageSpecs
from .models import visibility_number
from .spec_data import scoring_number
from .sweeps import SweepSpecs
from .text import Candidates, candidate_messages

Networks = Variant | Iterable[Variant]


class Specs(LanguageSpecs, SweepSpecs):
    """Makes JobSpecs. `data` is a path, bytes, a list of dicts or an artifact's name.

    Data of more than 16 MiB are uploaded as an artifact first. None is for a stage of
    a pipeline that takes them from an earlier one.
    """

    async def evaluate_mcq(
        self,
        networks: Networks | Sequence[Hosted],
        data: Data | None,
        *,
        scoring: McqScoring = "letter_variants",
        dropout_samples: int = 0,
        seed: int = 0,
        retries: int | None = None,
    ) -> jobs_pb2.JobSpec:
        """Multiple-choice questions; the first network is the baseline.

        `dropout_samples` per question with the adapter's dropout active give the
        uncertainty. One or two Hosted models answer in words instead; `retries` is how
        often one is asked again where its answer has no letter.
        """
        hosted: list[Any] = []
        if isinstance(networks, Sequence) and isinstance(networks[0], Hosted):
            hosted, networks = [option_message(each) for each in networks], ()
        return jobs_pb2.JobSpec(
            evaluate_mcq=jobs_pb2.EvaluateMcqSpec(
                variants=[] if hosted else variant_messages(networks),  # type: ignore[arg-type]
                hosted_models=hosted,
                scoring=scoring_number(scoring),
                mc_dropout_sample_count=dropout_samples,
                seed=seed,
                retries=retries,
                **await self._data(data, "questions"),
            )
        )

    async def fine_tune(
        self,
        model: str,
        data: Data | None,
        name: str,
        *,
        start_from: str = "",
        lora: Lora | None = None,
        training: Training | None = None,
        checkpoints: Checkpoints | None = None,
        evaluation_data: Data | None = None,
        evaluation_steps: int = 0,
        scoring: McqScoring = "letter_variants",
        replace: bool = False,
        visibility: str = "",
        dry_run: bool = False,
    ) -> jobs_pb2.JobSpec:
        """Trains a LoRA adapter, which is registered as `name` and resident at once.

        Documents are {"content"} or {"messages"}. `start_from` is an adapter whose
        weights training begins with. `evaluation_data` are multiple-choice questions,
        asked every `evaluation_steps` (0: a tenth of all). `dry_run` stops before the
        first step: statistics and memory only.
        """
        spec = training_pb2.FineTuneSpec(
            model=model_name(model),
            adapter=adapter_name(model, start_from) if start_from else "",
            output_adapter=adapter_name(model, name),
            replace=replace,
            visibility=visibility_number(visibility),
            lora=option_message(lora),
            training=option_message(training),
            checkpoints=option_message(checkpoints),
            dry_run=dry_run,
            **await self._data(data, "documents"),
        )
        if evaluation_data is not None:
            fields = await self._data(evaluation_data, "questions")
            for key, value in fields.items():
                setattr(spec, f"evaluation_{key}", value)
            spec.evaluation.step_count = evaluation_steps
            spec.evaluation.scoring = scoring_number(scoring)
        return jobs_pb2.JobSpec(fine_tune=spec)

    async def extract_activations(
        self,
        networks: Networks,
        data: Data | None,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        mean: bool = False,
        dtype: DType | None = None,
        scoring: McqScoring = "letter_variants",
    ) -> jobs_pb2.JobSpec:
        """Activations of many prompts into files, a folder for each network."""
        capture = common_pb2.CaptureSpec(
            sites=site_numbers(sites),
            blocks=block_numbers(blocks),
            positions=positions_message(positions),
            dtype=dtype_number(dtype),
        )
        if mean:
            capture.reduction = common_pb2.REDUCTION_MEAN
        return jobs_pb2.JobSpec(
            extract_activations=interp_jobs_pb2.ExtractActivationsSpec(
                variants=variant_messages(networks),
                capture=capture,
                scoring=scoring_number(scoring),
                **await self._data(data, "rows"),
            )
        )

    async def train_probes(
        self,
        networks: Networks,
        data: Data | None,
        targets: Sequence[Label | str],
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        options: Probing | None = None,
        components: int = 2,
        scoring: McqScoring = "letter_variants",
        activations_job: str = "",
    ) -> jobs_pb2.JobSpec:
        """Probes at every place, with controls, and principal components.

        `targets` are Labels, or words as on the command line: "category_conflict",
        "answered_false", "label:FIELD". `activations_job`, an extract_activations job,
        takes the place of networks and data: ([], None, ...).
        """
        spec = interp_jobs_pb2.TrainProbesSpec(
            targets=[label_message(each) for each in targets],
            options=option_message(options),
            component_count=components,
            scoring=scoring_number(scoring),
        )
        if data is None:
            # The job said what was captured, and how questions were asked.
            spec.activations_job = job_name(activations_job) if activations_job else ""
            spec.ClearField("scoring")
            return jobs_pb2.JobSpec(train_probes=spec)
        spec.MergeFrom(
            interp_jobs_pb2.TrainProbesSpec(
                variants=variant_messages(networks),
                sites=site_numbers(sites),
                blocks=block_numbers(blocks),
                positions=positions_message(positions),
                **await self._data(data, "rows"),
            )
        )
        return jobs_pb2.JobSpec(train_probes=spec)

    async def fit_directions(
        self,
        networks: Networks,
        data: Data | None,
        target: Label | str | None = None,
        *,
        method: DirectionMethod = "mean_difference",
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        scoring: McqScoring = "letter_variants",
    ) -> jobs_pb2.JobSpec:
        """A direction of many prompts, as a job; see also Directions.fit.

        `target` has two classes; variant_difference needs none.
        """
        return jobs_pb2.JobSpec(
            fit_directions=interp_jobs_pb2.FitDirectionsSpec(
                variants=variant_messages(networks),
                target=None if target is None else label_message(target),
                method=enum_number(probes_pb2.DirectionMethod, method, "method"),
                sites=site_numbers(sites),
                blocks=block_numbers(blocks),
                positions=positions_message(positions),
                scoring=scoring_number(scoring),
                **await self._data(data, "rows"),
            )
        )

    async def logit_lens(
        self,
        networks: Networks,
        data: Data | None,
        candidates: Candidates | None = None,
        *,
        sites: str | Iterable[str] = "resid_post",
        blocks: Blocks = None,
        positions: Positions = "last_prompt",
        top_k: int = 1,
        scoring: McqScoring = "letter_variants",
    ) -> jobs_pb2.JobSpec:
        """Lens trajectories over many prompts.

        `candidates` are watched in all of them; without, of multiple-choice questions
        the first tokens of the true and the false answer.
        """
        variants = variants_of(networks)
        return jobs_pb2.JobSpec(
            logit_lens=interp_jobs_pb2.LogitLensSpec(
                variants=variant_messages(variants),
                sites=site_numbers(sites),
                blocks=block_numbers(blocks),
                positions=positions_message(positions),
                candidates=await candidate_messages(
                    self._transport, variants[0].model, candidates or {}
                ),
                top_k=top_k,
                scoring=scoring_number(scoring),
                **await self._data(data, "rows"),
            )
        )

    async def pipeline(
        self,
        stages: dict[str, jobs_pb2.JobSpec] | Iterable[jobs_pb2.PipelineStage],
        *,
        title: str = "",
        force: bool = False,
    ) -> jobs_pb2.JobSpec:
        """Jobs that make one experiment, then its report.

        `stages` are specs by name, or PipelineStages with `inputs` and `gates`; see
        stage(). `force` goes on where a gate aborts.
        """
        if isinstance(stages, dict):
            stages = [stage(name, spec) for name, spec in stages.items()]
        return jobs_pb2.JobSpec(
            pipeline=jobs_pb2.PipelineSpec(title=title, stages=stages, force=force)
        )


def stage(
    name: str,
    spec: jobs_pb2.JobSpec,
    *,
    inputs: Mapping[str, str] | None = None,
    gates: Sequence[str] = (),
) -> jobs_pb2.PipelineStage:
    """One job of a pipeline.

    `inputs` fill fields of the spec from earlier stages, "STAGE" or "STAGE/FILE" by
    field: {"fine_tune.data_artifact": "documents/docs.jsonl"}. `gates` are criteria
    that its results are held against: documents, behaviour, internal_signal,
    signal_against_noise, causal.
    """
    filled = []
    for field, source in (inputs or {}).items():
        earlier, _, file = source.partition("/")
        filled.append(jobs_pb2.StageInput(field=field, stage=earlier, file=file))
    return jobs_pb2.PipelineStage(
        name=name,
        spec=spec,
        inputs=filled,
        gates=[enum_number(jobs_pb2.Gate, each, "gates") for each in gates],
    )
