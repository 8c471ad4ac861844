"""From a model and labelled slices to measures and their report."""
