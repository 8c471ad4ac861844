"""Trains a Falx model on MRI slices: `python -m falx_trainer train --data DIR --out RUN`."""
