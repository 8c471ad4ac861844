"""`falx serve` answers over HTTP, for programs on this machine or behind a proxy.

Its parts are imported by that command alone. They need Starlette, uvicorn and python-multipart, which come
with `falx[serve]`.
"""
