"""Writes each section that a profile of a UKI has to a file, as systemd-stub would
find them: sections.py UKI PROFILE FOLDER.

By pefile, so that it shares nothing with the program that it is to check.
"""

import pathlib
import sys

import pefile


def sections(uki, profile):
    """The base's sections, those of the profile in their place; none is empty."""
    groups = [{}]
    for section in pefile.PE(uki, fast_load=True).sections:
        name = section.Name.rstrip(b"\0").decode()
        if name == ".profile":
            groups.append({})
        data = section.get_data(length=section.Misc_VirtualSize) if section.Misc_VirtualSize else b""
        groups[-1].setdefault(name, data)
    chosen = groups[profile + 1] if len(groups) > 1 else {}
    return {name: data for name, data in (groups[0] | chosen).items() if data}


uki, profile, folder = sys.argv[1:]
for name, data in sections(uki, int(profile)).items():
    (pathlib.Path(folder) / name.removeprefix(".")).write_bytes(data)
