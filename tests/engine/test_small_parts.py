"""The parts of the vLLM package that need no vLLM: plug-in, media, names, provenance."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch
from mmreward_service.engine.protocol import ImageRefused, Media
from mmreward_service.engine.vllm.arguments import engine_arguments, policy_warning
from mmreward_service.engine.vllm.media import prompt_fields
from mmreward_service.engine.vllm.plugin import register
from mmreward_service.engine.vllm.provenance import fingerprint, processor_limits
from mmreward_service.engine.vllm.weights import rename_for_vllm
from tiny_models import TinyOptions, noise, video_frames


def test_plugin_is_declared_to_vllm():
    """vLLM finds it by its entry point, in every process it starts."""
    (ours,) = [e for e in entry_points(group="vllm.general_plugins") if e.name == "mmreward"]
    assert ours.load() is register


def test_plugin_and_engine_import_nothing_heavy():
    """The plug-in loads in processes that never build a model; the engine where vLLM is absent."""
    code = (
        "import sys\n"
        "import mmreward_service.engine.vllm.plugin\n"
        "assert not {'vllm', 'torch', 'transformers'} & set(sys.modules)\n"
        "import mmreward_service.engine.vllm.engine\n"
        "assert 'vllm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_images_travel_with_their_hashes():
    """The hash of the content is vLLM's id of the picture: shared pictures are encoded once."""
    image = noise(1)
    fields = prompt_fields(Media((image, image), ("a", "b")), video_metadata=True)
    assert fields["multi_modal_data"]["image"] == [image, image]
    assert fields["multi_modal_uuids"] == {"image": ["a", "b"]}
    assert prompt_fields(Media(), video_metadata=True) == {}
    assert "multi_modal_uuids" not in prompt_fields(Media((image,)), video_metadata=True)


def test_frames_travel_with_their_times_where_the_model_wants_them():
    """Qwen gets the frame rate, LLaVA-OneVision bare frames."""
    media = Media(video_frames(4), ("a", "b", "c", "d"), fps=2.0)
    ((frames, metadata),) = prompt_fields(media, video_metadata=True)["multi_modal_data"]["video"]
    assert frames.shape == (4, 56, 56, 3)
    assert (metadata["fps"], metadata["duration"], metadata["total_num_frames"]) == (2.0, 2.0, 4)
    assert metadata["do_sample_frames"] is False
    (bare,) = prompt_fields(media, video_metadata=False)["multi_modal_data"]["video"]
    assert np.array_equal(bare, frames)


def test_requests_take_turns_unless_the_user_says_otherwise(tmp_path):
    """Our default is the policy that honours priorities; another one is allowed, with a warning."""
    options = dict.fromkeys(("model_class", "max_model_len", "kv_cache_gib"))
    options |= {"folder": tmp_path, "served_name": "m", "dtype": "auto", "max_num_seqs": None}
    options |= {"enforce_eager": True, "max_images": 1, "on_cpu": True}
    ours = engine_arguments(**options, extra={})["scheduling_policy"]
    theirs = engine_arguments(**options, extra={"scheduling_policy": "fcfs"})["scheduling_policy"]
    assert (ours, theirs) == ("priority", "fcfs")
    assert policy_warning(ours) is None
    assert "order of arrival" in policy_warning(theirs)


def test_video_id_depends_on_frames_order_and_rate():
    """Two videos that differ in anything must not share a cache entry."""
    frames = video_frames(2)
    ids = {
        prompt_fields(Media(frames, hashes, fps), video_metadata=True)["multi_modal_uuids"][
            "video"
        ][0]
        for hashes, fps in ((("a", "b"), 1.0), (("b", "a"), 1.0), (("a", "b"), 2.0))
    }
    assert len(ids) == 3


def test_frames_of_two_sizes_are_refused():
    """A video is one array."""
    media = Media((noise(1), noise(2, width=84)), fps=1.0)
    with pytest.raises(ImageRefused):
        prompt_fields(media, video_metadata=True)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_flat_siglip_names_become_nested_where_vllm_nests(prefix):
    """Names of transformers 5 become those of the published checkpoints; these stay as they are,
    and so does everything else."""
    tensor = torch.zeros(1)
    flat = [
        (f"{prefix}vision_tower.embeddings.patch_embedding.weight", tensor),
        (f"{prefix}vision_tower.encoder.layers.0.mlp.fc1.weight", tensor),
        (f"{prefix}vision_tower.post_layernorm.bias", tensor),
        ("language_model.model.norm.weight", tensor),
    ]
    nested_model = {"vision_tower.vision_model.embeddings.patch_embedding.weight"}
    nested = [name for name, _ in rename_for_vllm(flat, nested_model)]
    assert nested[0] == f"{prefix}vision_tower.vision_model.embeddings.patch_embedding.weight"
    assert nested[1] == f"{prefix}vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"
    assert nested[2] == f"{prefix}vision_tower.vision_model.post_layernorm.bias"
    assert nested[3] == "language_model.model.norm.weight"
    published = [(name, tensor) for name in nested]
    assert [name for name, _ in rename_for_vllm(published, nested_model)] == nested
    assert [name for name, _ in rename_for_vllm(flat, {"visual.x"})] == [n for n, _ in flat]


def test_fingerprint_follows_every_part_and_no_order():
    """One changed value is another fingerprint; the order of keys is not."""
    one = {"model": "m", "head": {"type": "tanh", "inner_size": None}}
    same = {"head": {"inner_size": None, "type": "tanh"}, "model": "m"}
    other = {"model": "m", "head": {"type": "silu", "inner_size": None}}
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(other)
    assert len(fingerprint(one)) == 16


def test_processor_limits_follow_the_files_and_the_overrides(checkpoints):
    """What the processor does to a picture is part of what a score depends on."""
    folder = checkpoints("qwen2_5_vl", TinyOptions())
    plain = processor_limits(folder)
    assert plain["limits"]["image_processor.size"]["longest_edge"] == 28 * 28 * 64
    assert plain == processor_limits(folder)
    assert plain != processor_limits(folder, {"max_pixels": 9})
    assert (
        plain["files_sha256"]
        != processor_limits(checkpoints("qwen3_vl", TinyOptions()))["files_sha256"]
    )
