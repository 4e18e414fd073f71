"""`python -m mmreward_trainer`: what `accelerate launch -m` starts."""

from mmreward_trainer.cli.main import main

main()
