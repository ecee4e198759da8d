#!/usr/bin/env python3
"""Holds every include against the floors of CMakeLists.txt.

A folder of src/ and include/klined/ is a floor: it includes its own folder and lower floors, never a sibling or
upwards.
The order is read from CMakeLists.txt: a floor stands one above the highest floor that it is linked with.

Usage: floors.py            checks itself, then the project; exit status 1 names every bad include by file and line
"""

import re
import sys
import tempfile
import unittest
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SUFFIXES = {".cpp", ".hpp", ".h", ".cc", ".ipp"}

FLOOR = re.compile(r"^\s*klined_floor\((\w+)([^)]*)\)", re.MULTILINE)
APP = re.compile(r"^\s*target_link_libraries\(klined_app\b([^)]*)\)", re.MULTILINE)
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def floor_numbers(cmake: str) -> dict[str, int]:
    """The number of each floor, 0 being the lowest."""
    links = {name: words.split() for name, words in FLOOR.findall(cmake)}
    for words in APP.findall(cmake):
        links["app"] = words.split()
    numbers: dict[str, int] = {}

    def number(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            raise ValueError(f"CMakeLists.txt: the floors {' -> '.join(above + (name,))} go in a circle")
        if name not in numbers:
            lower = [word.removeprefix("klined_") for word in links[name] if word.startswith("klined_")]
            numbers[name] = max((number(low, above + (name,)) + 1 for low in lower if low in links), default=0)
        return numbers[name]

    for name in links:
        number(name)
    return numbers


def included_floor(file: Path, project: Path, name: str) -> str | None:
    """The floor of an included header; None for one that is not klined's."""
    match = re.match(r"klined/(\w+)/", name)
    if match:
        return match.group(1)
    # A private header is named by its path from the including file, or from src/.
    for base in (file.parent, project / "src"):
        path = (base / name).resolve()
        for root in (project / "src", project / "include" / "klined"):
            if path.is_file() and path.is_relative_to(root.resolve()):
                return path.relative_to(root.resolve()).parts[0]
    return None


def bad_includes(project: Path) -> list[str]:
    floors = floor_numbers((project / "CMakeLists.txt").read_text())
    bad = []
    for root in (project / "src", project / "include" / "klined"):
        for file in sorted(root.rglob("*")):
            if file.suffix not in SUFFIXES:
                continue
            own = file.relative_to(root).parts[0]
            place = file.relative_to(project)
            if own not in floors:
                bad.append(f"{place}: {own} is no floor of CMakeLists.txt; its floors are {', '.join(floors)}")
                continue
            for line, text in enumerate(file.read_text().splitlines(), start=1):
                match = INCLUDE.match(text)
                other = match and included_floor(file, project, match.group(1))
                if not other or other == own:
                    continue
                if other not in floors:
                    bad.append(f"{place}:{line}: includes {match.group(1)}, and {other} is no floor of CMakeLists.txt")
                elif floors[other] >= floors[own]:
                    where = "a sibling of" if floors[other] == floors[own] else "above"
                    bad.append(f"{place}:{line}: includes {match.group(1)}, but {other} (floor {floors[other]}) is "
                               f"{where} {own} (floor {floors[own]})")
    return bad


class FloorsTest(unittest.TestCase):
    CMAKE = """
    klined_floor(base spdlog::spdlog)
    klined_floor(core klined_base)
    klined_floor(store klined_core PkgConfig::MYSQL)
    klined_floor(cache klined_core)
    klined_floor(stream klined_store klined_cache)
    target_link_libraries(klined_app PUBLIC klined_stream PRIVATE klined_options)
    """

    def bad(self, files: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {"CMakeLists.txt": self.CMAKE, **files}.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return bad_includes(Path(folder))

    def test_order_is_read(self):
        self.assertEqual(floor_numbers(self.CMAKE),
                         {"base": 0, "core": 1, "store": 2, "cache": 2, "stream": 3, "app": 4})

    def test_order_of_the_project(self):
        floors = floor_numbers((PROJECT / "CMakeLists.txt").read_text())
        self.assertEqual(floors, {"base": 0, "core": 1, "codec": 2, "aggregate": 3, "source": 4, "store": 4, "cache": 4,
                                  "publish": 4, "stream": 5, "app": 6})

    def test_circle_is_refused(self):
        with self.assertRaises(ValueError):
            floor_numbers("klined_floor(base klined_core)\nklined_floor(core klined_base)\n")

    def test_own_and_lower_floors_pass(self):
        text = '#include "klined/core/x.hpp"\n#include <vector>\n#include "klined/base/y.hpp"\n#include "kline.pb.h"\n'
        self.assertEqual(self.bad({"src/core/x.cpp": text, "include/klined/stream/z.hpp": text}), [])

    def test_upward_include_is_found(self):
        bad = self.bad({"src/core/x.cpp": "\n#include <vector>\n#include \"klined/stream/lane.hpp\"\n"})
        self.assertEqual(len(bad), 1)
        self.assertIn("src/core/x.cpp:3:", bad[0])
        self.assertIn("above", bad[0])

    def test_sibling_include_is_found(self):
        bad = self.bad({"include/klined/store/x.hpp": "#  include <klined/cache/redis_cache.hpp>\n"})
        self.assertEqual(len(bad), 1)
        self.assertIn("include/klined/store/x.hpp:1:", bad[0])
        self.assertIn("sibling", bad[0])

    def test_private_headers_are_no_way_around(self):
        bad = self.bad({"src/cache/private.hpp": "", "src/cache/x.cpp": '#include "private.hpp"\n',
                        "src/store/x.cpp": '#include "../cache/private.hpp"\n',
                        "src/core/x.cpp": '#include "cache/private.hpp"\n'})
        self.assertEqual([line.split(": ")[0] for line in bad], ["src/core/x.cpp:1", "src/store/x.cpp:1"])

    def test_unknown_folders_are_found(self):
        bad = self.bad({"src/common/x.cpp": "", "src/core/x.cpp": '#include "klined/util/x.hpp"\n'})
        self.assertEqual(len(bad), 2)


def main() -> int:
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(FloorsTest)
    result = unittest.TextTestRunner(stream=sys.stderr).run(tests)
    bad = bad_includes(PROJECT)
    for line in bad:
        print(line)
    if not bad:
        print("every include stays on its floor or goes down")
    return 0 if result.wasSuccessful() and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
