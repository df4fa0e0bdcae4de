"""Tissues of a brain: a small network that labels them, and their volumes."""
