"""What trainer, export and benchmarks share: manifests of images and the folder that a training leaves."""
