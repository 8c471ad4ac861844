"""Names what a frozen program needs of Falx beyond the imports that PyInstaller sees.

Falx loads engines and readers by name when they are first needed, and reads its model from its own folder.
What stands above `falx.Classifier` comes along only where the program imports it.
"""

from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

ABOVE = {"__main__", "_pyinstaller", "app", "check", "command", "serve", "workstation"}
READERS = ("pydicom", "nibabel", "jpeg_ls", "openjpeg", "pylibjpeg")
ENGINES = {"ai_edge_litert": ".interpreter", "tflite_runtime": ".interpreter", "onnxruntime": ""}

datas = collect_data_files("falx", excludes=["app", "command"])
hiddenimports = collect_submodules("falx", lambda name: f"{name}.".split(".")[1] not in ABOVE)
hiddenimports += [name for name in READERS if find_spec(name) is not None]
hiddenimports += [package + module for package, module in ENGINES.items() if find_spec(package) is not None]
