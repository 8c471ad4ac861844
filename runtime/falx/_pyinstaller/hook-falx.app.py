"""Leaves Streamlit out: it runs the page as a file of its own, which a frozen program has not."""

excludedimports = ["streamlit"]
