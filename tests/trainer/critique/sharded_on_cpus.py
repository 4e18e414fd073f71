"""Runs `mmreward-train` with FSDP on CPUs, as one process of several.

accelerate shards on accelerators only: on CPUs it copies whole weights without a word. What keeps
it from sharding is one name in its state, which is changed here; the sharding itself, `fully_shard`
by accelerate's own preparation with the settings of trainer/accelerate/fsdp2.yaml, is the real one.
"""

from __future__ import annotations

import os

import yaml
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from mmreward_trainer.cli.main import main


def _settings(file: str) -> None:
    """What `accelerate launch` makes of the file."""
    with open(file, encoding="utf-8") as stream:
        config = yaml.safe_load(stream)
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    for name, value in config["fsdp_config"].items():
        os.environ[name.upper()] = str(value).lower() if isinstance(value, bool) else str(value)


def _shard_on_cpus() -> None:
    stock = AcceleratorState.__init__

    def start(self: AcceleratorState, *arguments: object, **named: object) -> None:
        plugin = named.get("fsdp_plugin")
        first = not AcceleratorState._shared_state
        stock(self, *arguments, **named)
        if first and plugin is not None:
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = start


_settings(os.environ["SHARDING_CONFIG"])
_shard_on_cpus()
main()
