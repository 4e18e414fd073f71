"""Trains reward models that mmreward serves, and measures them."""
