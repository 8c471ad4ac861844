"""The script that Streamlit runs for each visitor, and again at each of their inputs."""

from falx.app import page

page.show()
