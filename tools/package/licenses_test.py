#!/usr/bin/env python3
"""Tests of licenses.py that need nothing but this system's packages."""

from __future__ import annotations

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import licenses

LIBC = next(Path("/").glob("lib/*/libc.so.6"), None)


@unittest.skipUnless(shutil.which("dpkg-query"), "NOT RUN: not a Debian system")
class LicensesTest(unittest.TestCase):
    def test_a_library_is_of_the_package_that_has_it_under_either_name(self):
        for path in (LIBC, Path("/usr", *LIBC.parts[1:])):
            self.assertEqual(licenses.debian_packages([path]), {path: "libc6"})

    def test_a_library_without_a_package_is_an_error_that_names_it(self):
        with tempfile.TemporaryDirectory() as folder:
            stray = Path(folder, "libstray.so.1")
            missing = licenses.collect(licenses.of_libraries([stray, LIBC]),
                                       Path(folder, "out"))
            self.assertEqual(missing, [str(stray)])
            self.assertTrue(Path(folder, "out/libc6/copyright").is_file())


if __name__ == "__main__":
    unittest.main()
