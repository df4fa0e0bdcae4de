"""Settings of a flow that learns phantoms in a second."""

SMALL = {
    "channels": (8, 8, 8),
    "side": 16,
    "cubes": 4,
    "warm_up": 2,
    "learning_rate": 5e-3,
    "validate_every": 1000,
}
