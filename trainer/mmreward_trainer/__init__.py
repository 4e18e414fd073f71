"""Trains reward models that mmreward serves, and measures them."""

__version__ = "0.1.0"
