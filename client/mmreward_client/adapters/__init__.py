"""The service as the reward of other people's trainers: verl, ms-swift, OpenRLHF.

Those trainers are given a path and a name, so an adapter is told everything by the environment
(`adapter_settings.py`). Nothing of theirs is imported but the class an adapter has to inherit from,
in the module that is loaded by that trainer alone. A failure is never a number: a response without
a reward stops the run, or, where the trainer allows it and it was asked for, its whole group is
taken out.

    verl_score       `compute_score`, one response at a time
    verl_manager     `RewardManager`, with the prompt and pictures of the data set, or whole groups
    swift_orm        `mmreward`, whole groups
    openrlhf_reward  `reward_func`, text only
    openrlhf_agent   `AgentExecutor`, with pictures, or whole groups
"""
