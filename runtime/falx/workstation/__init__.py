"""Falx among the systems of a hospital: DICOM reports, pictures, and a node that answers studies.

Needs `falx[dicom]`; nothing here is imported by the rest of Falx before it is used.
"""
