"""Rollouts of the second stage on two processes, and by vLLM in the process that trains."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mmreward_trainer.judge.configuration import JudgeConfig
from safetensors.torch import load_file

from .conftest import Stock, judge_config

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[3]
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
PROGRAM = """
import sys
from pathlib import Path

from mmreward_trainer.judge.configuration import JudgeConfig
from mmreward_trainer.judge.run import train_judge

if __name__ == "__main__":
    config = JudgeConfig.model_validate_json(Path(sys.argv[1]).read_text())
    train_judge(config, Path(sys.argv[2]), resume=False, say=print)
"""


# What vLLM says that it was asked, beside the ids that the log-probabilities are computed from.
RECORDING = """
import json
import sys
from pathlib import Path

from mmreward_trainer.judge import reinforced
from trl.generation.vllm_generation import VLLMGeneration


def recording(function, name, ids_of):
    def recorded(*arguments, **named):
        found = function(*arguments, **named)
        lines = "".join(json.dumps(list(one)) + "\\n" for one in ids_of(found))
        with Path(sys.argv[2]).with_suffix(name).open("a") as file:
            file.write(lines)
        return found

    return recorded


def recorded_class(base):
    made = of_base(base)
    made._tokenize_prompts = recording(made._tokenize_prompts, ".trained", lambda found: found[0])
    return made


of_base, reinforced.judge_trainer_class = reinforced.judge_trainer_class, recorded_class
VLLMGeneration.generate = recording(VLLMGeneration.generate, ".asked", lambda found: found[0])
"""


def launched(
    config: JudgeConfig, output: Path, *launcher: str, before: str = ""
) -> dict[str, list[dict[str, Any]]]:
    """The logs of both stages of a run in processes of its own, without a GPU."""
    program, settings = output.with_suffix(".py"), output.with_suffix(".json")
    program.write_text(before + PROGRAM)
    settings.write_text(config.model_dump_json())
    done = subprocess.run(
        [sys.executable, *launcher, str(program), str(settings), str(output)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=1200, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {
        stage: json.loads((output / "run" / stage / "history.json").read_text())
        for stage in ("sft", "rl")
    }


def losses(log: list[dict[str, Any]], name: str = "loss") -> list[float]:
    return [one[name] for one in log if "loss" in one]


def test_two_processes_roll_out_and_learn_together(
    stock: Stock, colours: Path, tmp_path: Path
) -> None:
    """Each has a half of every group of rollouts; the warm start's gradient is that of one process.

    What is rolled out differs, because each process draws for itself. So do the steps of the warm
    start from the second on: where a gradient is zero but for rounding, Adam makes a step of it.
    """
    sizes: dict[str, Any] = {"sft__pairs_per_step": 6, "rl__comparisons_per_step": 3}
    one, two = (
        judge_config(
            stock("qwen2_5_vl"), colours, sft__pairs_per_batch=6 // processes,
            rl__rollouts_per_batch=4 // processes, **sizes,
        )
        for processes in (1, 2)
    )  # fmt: skip
    alone = launched(one, tmp_path / "alone")
    together = launched(two, tmp_path / "together", *TORCHRUN)
    for name in ("loss", "grad_norm"):
        one_s, two_s = (losses(log["sft"], name)[:2] for log in (alone, together))
        assert two_s[0] == pytest.approx(one_s[0], rel=1e-5)
        assert two_s[1] == pytest.approx(one_s[1], rel=0.02)
    rewards = [line["reward"] for line in together["rl"] if "reward" in line]
    assert len(rewards) == 4
    assert all(0 <= reward <= 1 for reward in rewards)
    # Rewards differ within a group, though no process has seen a whole one.
    assert any(line.get("reward_std", 0) > 0 for line in together["rl"])
    assert all(math.isfinite(loss) for loss in losses(together["rl"]))
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("alone", "together")]
    assert weights[0].keys() == weights[1].keys()


@pytest.mark.vllm
def test_vllm_rolls_out_what_is_trained_on(stock: Stock, colours: Path, tmp_path: Path) -> None:
    """Prompts with their pictures are the ids of the log-probabilities, step after step.

    TRL logs how far the log-probabilities of the two are apart. vLLM computes in 16 bits here.
    """
    config = judge_config(
        stock("qwen2_5_vl"), colours, rl__use_vllm=True, rl__vllm_memory_share=0.05
    )
    output = tmp_path / "rolled_out"
    log = launched(config, output, before=RECORDING)["rl"]
    asked, trained = (
        set(output.with_suffix(name).read_text().splitlines()) for name in (".asked", ".trained")
    )
    assert asked == trained
    assert len(asked) > 4
    name = "sampling/sampling_logp_difference"
    apart = [(one[f"{name}/mean"], one[f"{name}/max"]) for one in log if f"{name}/max" in one]
    assert len(apart) == 4
    assert all(mean < 0.05 and most < 0.5 for mean, most in apart), apart
    assert any(line.get("reward_std", 0) > 0 for line in log)
