"""Proof that the files answer as the Keras model does: the slices, the measures and their tolerances."""
