"""Leaves out what LiteRT brings for other hardware, and TensorFlow, of which its interpreter names a module.

That import is for the copy of the file in TensorFlow. Where TensorFlow is installed, PyInstaller follows it
and collects a gigabyte that nothing loads.
"""

from pathlib import Path

from PyInstaller.utils.hooks import collect_dynamic_libs

excludedimports = ["tensorflow", "tflite"]
binaries = [
    (file, folder)
    for file, folder in collect_dynamic_libs("ai_edge_litert")
    if "vendors" not in Path(folder).parts and "Accelerator" not in Path(file).name
]
