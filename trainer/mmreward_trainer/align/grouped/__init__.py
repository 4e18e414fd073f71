"""Reinforcement learning of a policy with rewards from the service, on TRL's GRPOTrainer.

Importable in anybody's script:

    from mmreward_trainer.align.grouped.missing import LeavesMissingOut
    from mmreward_trainer.align.grouped.rewards import CritiqueReward, GroupedReward
    from mmreward_trainer.align.grouped.watch import Watch

`mmreward-train align grouped` is the same with rows, settings, resuming and export around them.
"""
