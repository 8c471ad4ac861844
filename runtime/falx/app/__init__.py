"""`falx app`: a page in the browser for people who write no code.

Its parts are imported by that command alone. What they need, Streamlit, Jinja and fpdf2, comes with
`pip install 'falx[app]'`.
"""
