"""Engines: what turns rendered prompts into critiques and scores."""
