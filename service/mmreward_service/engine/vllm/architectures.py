"""The four model families with a reward head. All that differs between them is the parent.

And a family without one, for a judge alone: vLLM's own class would refuse folders that transformers
5 has written.
"""

from __future__ import annotations

from vllm.model_executor.models.llava_onevision import LlavaOnevisionForConditionalGeneration
from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from vllm.model_executor.models.qwen2_vl import Qwen2VLForConditionalGeneration
from vllm.model_executor.models.qwen3_vl import Qwen3VLForConditionalGeneration

from mmreward_service.engine.vllm.adapter import ScoreSlotModel
from mmreward_service.engine.vllm.weights import RenamingModel


class MMRewardQwen2VL(ScoreSlotModel, Qwen2VLForConditionalGeneration):
    pass


class MMRewardQwen2_5_VL(ScoreSlotModel, Qwen2_5_VLForConditionalGeneration):
    pass


class MMRewardQwen3VL(ScoreSlotModel, Qwen3VLForConditionalGeneration):
    pass


class MMRewardLlavaOnevision(ScoreSlotModel, LlavaOnevisionForConditionalGeneration):
    pass


class MMRewardPlainLlavaOnevision(RenamingModel, LlavaOnevisionForConditionalGeneration):
    pass
