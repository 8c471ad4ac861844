"""From data to a run folder: the recipe, the network, the stages of training and the calibration."""
