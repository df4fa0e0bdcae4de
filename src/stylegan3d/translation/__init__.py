"""Label-to-image translation: a T1 brain from a map of tissues or regions."""
