"""Synthetic identities for `siamese demo`: parametric faces that need no download."""
