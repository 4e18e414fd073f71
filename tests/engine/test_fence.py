"""Start-up refuses what would silently break the score slot. No engine is started here, but the
configurations are vLLM's own."""

from __future__ import annotations

import json

import pytest
from mmreward_service.engine.vllm import fence
from mmreward_service.engine.vllm.engine import VllmEngine
from mmreward_service.engine.vllm.versions import version_warning
from mmreward_service.reward.checkpoint import CheckpointError
from tiny_models import TinyOptions, build_tiny_checkpoint


@pytest.fixture(scope="module")
def folder(checkpoints):
    return checkpoints("qwen2_5_vl", TinyOptions())


REFUSED = {
    "speculative_config": {"method": "ngram", "num_speculative_tokens": 2},
    "spec_method": "ngram",
    "logprobs_mode": "processed_logits",
    "max_logprobs": 0,
    "logits_processors": ["some.module:Processor"],
    "enable_lora": True,
    "enable_batch_sharded_sampling": True,
    "reasoning_parser": "qwen3",
    "decode_context_parallel_size": 2,
    "prefill_context_parallel_size": 2,
    "data_parallel_size": 2,
    "skip_tokenizer_init": True,
    "video_pruning_rate": 0.5,
    "model": "/elsewhere",
    "runner": "pooling",
    "hf_overrides": {"architectures": ["Qwen2VLForConditionalGeneration"]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_argument_that_breaks_scores_is_refused_by_name(folder, name):
    """The engine is not even built, and the message names the argument."""
    with pytest.raises(fence.FenceError, match=name):
        VllmEngine(folder, engine_args={name: REFUSED[name]})


@pytest.mark.parametrize(
    "arguments",
    [
        {"quantization": "fp8"},
        {"kv_cache_dtype": "fp8"},
        {"tensor_parallel_size": 2, "pipeline_parallel_size": 2},
        {"logprobs_mode": "raw_logits"},
        {"mm_processor_kwargs": {"max_pixels": 1000}},
        {"hf_overrides": {"text_config": {"rope_theta": 1.0}}},
        {"speculative_config": None, "enable_lora": False, "data_parallel_size": 1},
    ],
)
def test_argument_that_scores_survive_is_let_through(folder, arguments):
    """Quantisation moves scores honestly; parallelism and limits are the user's business."""
    VllmEngine(folder, engine_args=arguments)


def test_all_reasons_are_told_at_once(folder):
    """Nobody has to start five times to learn of five mistakes."""
    with pytest.raises(fence.FenceError) as refusal:
        VllmEngine(folder, engine_args={"enable_lora": True, "data_parallel_size": 2})
    assert "enable_lora" in str(refusal.value)
    assert "data_parallel_size" in str(refusal.value)


def changed_config(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_architecture_without_an_adapter_is_refused(tmp_path):
    """The message names what is supported."""
    build_tiny_checkpoint(tmp_path, "qwen2_vl")
    changed_config(tmp_path, architectures=["LlamaForCausalLM"])
    with pytest.raises(CheckpointError, match=r"LlamaForCausalLM.*LlavaOnevision"):
        VllmEngine(tmp_path)


def test_tokenizer_that_fills_the_vocabulary_is_refused(tmp_path):
    """Without a free id there is no slot; the message says what to do."""
    build_tiny_checkpoint(tmp_path, "qwen2_vl")
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"filler{i}": i for i in range(len(vocabulary) + 10, 512)}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(CheckpointError, match="no free id"):
        VllmEngine(tmp_path)


def test_folder_without_a_reward_object_is_refused(tmp_path):
    """A stock checkpoint is not a reward model."""
    build_tiny_checkpoint(tmp_path, "qwen2_vl")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["reward"]
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="reward"):
        VllmEngine(tmp_path)


@pytest.fixture
def make_config(folder):
    """vLLM's resolved configuration of our arguments, changed past the first gate."""
    from mmreward_service.engine.vllm.environment import prepare_environment
    from mmreward_service.engine.vllm.plugin import register_class

    prepare_environment(enforce_eager=True)
    from vllm.engine.arg_utils import AsyncEngineArgs

    def make(**changes):
        ours = VllmEngine(folder, dtype="float32", max_model_len=256, kv_cache_gib=0.1)
        arguments = AsyncEngineArgs(**{**ours._arguments, **changes})
        register_class("MMRewardQwen2_5_VL")
        return arguments.create_engine_config(), ours.spec

    return make


def test_our_own_configuration_passes_the_second_gate(make_config):
    """What the engine asks for is what vLLM resolves, raw logits and our class included."""
    config, spec = make_config()
    fence.check_config(config, spec)
    assert config.model_config.logprobs_mode == "raw_logits"
    assert config.model_config.architectures == ["MMRewardQwen2_5_VL"]
    assert config.cache_config.enable_prefix_caching


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"logprobs_mode": "raw_logprobs"}, "logprobs_mode"),
        ({"enable_lora": True}, "adapter"),
        (
            {
                "speculative_config": {
                    "method": "ngram",
                    "num_speculative_tokens": 2,
                    "prompt_lookup_max": 2,
                }
            },
            "speculative",
        ),
        (
            {"hf_overrides": {"architectures": ["Qwen2_5_VLForConditionalGeneration"]}},
            "plug-in was not loaded",
        ),
    ],
)
def test_resolved_configuration_that_breaks_scores_is_refused(make_config, changes, reason):
    """The second gate does not trust the first: it reads what vLLM made of the arguments."""
    config, spec = make_config(**changes)
    with pytest.raises(fence.FenceError, match=reason):
        fence.check_config(config, spec)


def test_structured_output_and_masks_are_refused_on_scored_requests():
    """A grammar's mask, a list of allowed tokens or a bias may cover the slot."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    fence.check_sampling(SamplingParams(logprob_token_ids=[500]))
    for arguments in (
        {"structured_outputs": StructuredOutputsParams(regex="a+")},
        {"allowed_token_ids": [1, 2]},
        {"logit_bias": {3: 1.0}},
        {"bad_words": ["no"]},
        {"logprobs": 5},
        {"prompt_logprobs": 1},
    ):
        with pytest.raises(fence.FenceError):
            fence.check_sampling(SamplingParams(**arguments))


@pytest.mark.parametrize(
    ("version", "inside"),
    [("0.26.0", True), ("0.32.0", True), ("0.25.9", False), ("0.33.1", False), (None, False)],
)
def test_versions_outside_the_range_are_warned_about(version, inside):
    """Not refused: a newer vLLM may well work, but nobody has looked."""
    assert (version_warning(version) is None) == inside
