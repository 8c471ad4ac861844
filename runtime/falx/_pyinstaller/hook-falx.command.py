"""Names the modules of the commands, which `falx` loads by name: all but the page's, a program of its own."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules

datas = collect_data_files("falx.command")
hiddenimports = collect_submodules("falx.command")
