"""The YAML front matter by which the Hugging Face Hub finds and shows a model.

The library huggingface_hub writes it. `library_name` is mmreward and not transformers: transformers
would load the model without its head, and a page would tell its reader to do so.
"""

from __future__ import annotations

from mmreward_trainer.model_card.card import BENCHMARKS, Evaluation, Figure, ModelCard

LIBRARY = "mmreward"
PIPELINE_TAG = "image-text-to-text"
_METRIC_TYPES = {"ACC": "accuracy", "ACC+": "accuracy_plus"}


def front_matter(card: ModelCard) -> str:
    """The block between two lines of dashes; metrics are those that were measured."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=PIPELINE_TAG,
            task_name="Preference of the better answer",
            dataset_type=evaluation.dataset,
            dataset_name=evaluation.name,
            dataset_config=figure.part,
            metric_type=_METRIC_TYPES.get(figure.metric, figure.metric),
            metric_name=figure.metric,
            metric_value=round(figure.value, 4),
        )
        for evaluation in card.evaluations
        for figure in overall(evaluation)
        if figure.value is not None
    ]
    tags = ["reward-model", "rlhf", "multimodal", *card.spec.kinds]
    data = ModelCardData(
        language=card.language,
        license=card.license,
        library_name=LIBRARY,
        tags=tags,
        base_model=card.base_model,
        datasets=list(card.datasets) or None,
        pipeline_tag=PIPELINE_TAG,
        model_name=card.name if results else None,
        eval_results=results or None,
    )
    text: str = data.to_yaml()
    return f"---\n{text.strip()}\n---\n"


def overall(evaluation: Evaluation) -> list[Figure]:
    """The figures over the whole of a data set; of a benchmark, those are called `overall`."""
    if evaluation.dataset in BENCHMARKS:
        return [one for one in evaluation.figures if one.part == "overall"]
    return [one for one in evaluation.figures if one.part.split(",")[0] in ("overall", "all")]
