"""Names what a frozen program needs of Falx beyond the imports that PyInstaller sees.

Falx loads engines and readers by name when they are first needed, and reads its model from its own folder.
The page of `falx app` is a program of its own and is left out.
"""

from __future__ import annotations

from importlib.util import find_spec

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs, collect_submodules

LEFT_OUT = ("falx.app", "falx.serve", "falx._pyinstaller")
READERS = ("pydicom", "nibabel", "jpeg_ls", "openjpeg", "pylibjpeg")
ENGINES = {"ai_edge_litert": ".interpreter", "tflite_runtime": ".interpreter", "onnxruntime": ""}

datas = collect_data_files("falx")
binaries = []
hiddenimports = collect_submodules("falx", lambda name: not name.startswith(LEFT_OUT))
hiddenimports += [name for name in READERS if find_spec(name) is not None]
for package, module in ENGINES.items():
    if find_spec(package) is not None:
        binaries += collect_dynamic_libs(package)
        hiddenimports.append(package + module)
