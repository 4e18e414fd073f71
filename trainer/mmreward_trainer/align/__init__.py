"""Aligning a policy with preference pairs: MM-DPO and dense DPO, as trainers and as commands.

Importable, on TRL's DPOTrainer with images:

    from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer
    from mmreward_trainer.align.dense_dpo import DenseDPOConfig, DenseDPOTrainer

`mmreward-train align mm-dpo` and `align dense-dpo` are the same with rows, settings, resuming and
export around them (`run`).
"""
