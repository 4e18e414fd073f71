"""What the three training loops make of a small policy, measured by the truth about pictures."""
