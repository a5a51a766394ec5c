"""What `convscope summary` prints below its table, and what it draws."""

import xml.etree.ElementTree as ET
from pathlib import Path


def test_rows_that_are_never_looked_at_stand_below_the_table(command) -> None:
    code, told, _ = command("summary", "simplenn", "--size", "33")
    assert code == 0
    assert told.splitlines()[-1] == (
        "pool1 (2x2, stride 2) never looks at the last row and column of its 29x29 map. Images of 32x32 or 36x36 fit."
    )


def test_nothing_is_said_where_nothing_is_lost(command) -> None:
    _, told, _ = command("summary", "simplenn")
    assert told.rstrip().splitlines()[-1].startswith("1x1 ")


def test_images_that_are_too_small_are_refused(command) -> None:
    code, told, error = command("summary", "simplenn", "--size", "8")
    assert code == 2
    assert told == ""
    assert error.rstrip().endswith(
        "simplenn cannot take 8x8 images: conv2 needs at least 3x3 pixels and gets 2x2. The smallest images that "
        "work are 12x12."
    )


def test_the_structure_is_drawn_over_what_was_there(command, tmp_path: Path) -> None:
    file = tmp_path / "new" / "net.svg"
    for shortcut, parameters in (("A", "269,722"), ("B", "272,474")):
        code, _, error = command("summary", "resnet20", "--model.shortcut", shortcut, "--svg", file)
        assert (code, error) == (0, f"The structure is drawn in {file}.\n")
        description = ET.parse(file).getroot().findtext("{http://www.w3.org/2000/svg}desc") or ""
        assert f"{parameters} parameters" in description
