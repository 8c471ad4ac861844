"""Falx: what is in a brain MRI slice, decided on the CPU where the image is, or that it cannot tell."""
