"""What every benchmark here shares: the machine, the rounds, the result file, the work."""
