"""The contract of trainer, export and benchmarks: manifests of images and the folder of a training."""
