"""Translation of labels to pictures: the T1 brain that fits a map of tissues or regions."""
