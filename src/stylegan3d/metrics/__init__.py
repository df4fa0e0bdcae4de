"""How far synthetic brains are from real ones; `evaluation` brings these measures together."""
