# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import codecs
import io
import math
import zipfile
from pathlib import Path

import pytest

from monai_diffae.data import find_images, find_volumes
from monai_diffae.data.table_reading import read_table

ROWS = "file,größe\na.png,1.5\nb.png,2\n"


def write(folder: Path, content: str | bytes) -> Path:
    file = folder / "labels.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        codecs.BOM_UTF8 + ROWS.encode(),
        ROWS.encode("utf-16"),
        codecs.BOM_UTF16_BE + ROWS.encode("utf-16-be"),
        ROWS.encode("cp1252"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", ";").replace(".5", ",5"),
        "sep=;\n" + ROWS.replace(",", ";"),
        ROWS.replace("größe", ' "größe" ').replace(' "', '"').replace('" ', '"'),
        '"file" ,größe\n"a.png",1.5\n"b.png",2\n'.replace('" ,', '",'),
        "\n\n" + ROWS + "\n,\n  \n",
        ROWS.replace("\n", ",\n"),
        "file , größe\na.png, 1.5\nb.png, 2 \n",
        ROWS.rstrip("\n"),
    ],
)
def test_tables_are_read_as_programs_save_them(tmp_path, content):
    table = read_table(write(tmp_path, content))
    assert [column for column in table.columns if column] == ["file", "größe"]
    assert [row["file"] for row in table.rows] == ["a.png", "b.png"]
    assert table.numbers("größe") == [1.5, 2]


def test_what_is_not_utf8_is_said(tmp_path, caplog):
    read_table(write(tmp_path, ROWS.encode("cp1252")))
    assert "labels.csv is not UTF-8 and was read as cp1252" in caplog.text


def test_quoted_cells_hold_line_breaks_delimiters_and_quotes(tmp_path):
    table = read_table(write(tmp_path, 'file,note,age\n"a,1.png","two\nlines, ""so""",5\nb.png,,x\n'))
    assert table.rows[0] == {"file": "a,1.png", "note": 'two\nlines, "so"', "age": "5"}
    with pytest.raises(ValueError, match=r"labels.csv, line 4, column age: 'x' is not a number"):
        table.numbers("age")


@pytest.mark.parametrize("cell", ["", "  ", "NA", "n/a", "NaN", "nan", "NULL", "None", "#N/A"])
def test_a_value_that_is_not_known_is_nan(tmp_path, cell):
    (value,) = read_table(write(tmp_path, f"file,age\na.png,{cell}\n")).numbers("age")
    assert math.isnan(value)


@pytest.mark.parametrize(("cell", "value"), [("1e-3", 0.001), ("-4.", -4), ("+.5", 0.5), ("007", 7), ("1E6", 1e6)])
def test_numbers_are_read_as_they_are_written(tmp_path, cell, value):
    assert read_table(write(tmp_path, f"file,age\na.png,{cell}\n")).numbers("age") == [value]


@pytest.mark.parametrize(
    "cell",
    [
        "40 years",
        "1_000",
        "1 000",
        '"40,5"',
        '"1,000"',
        "inf",
        "-Infinity",
        "1e999",
        "yes",
        "True",
        "0x10",
        "5%",
        "-",
        "٣",
    ],
)
def test_what_is_no_number_is_refused_by_file_line_and_column(tmp_path, cell):
    table = read_table(write(tmp_path, f"file,age\na.png,1\nb.png,{cell}\n"))
    with pytest.raises(ValueError, match=r"labels.csv, line 3, column age: .* is not a number; write it with"):
        table.numbers("age")


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["40,5", "3"], [40.5, 3]),
        (["1,125", "1,5"], [1.125, 1.5]),
        (["0,125", "1,125"], [0.125, 1.125]),
        (["40.5", "3"], [40.5, 3]),
        (["-2,5e3", ""], [-2500, math.nan]),
        (["1,250", "3"], "column age: 1,250 can have separators of decimals or of thousands"),
        (["12,000", "1,250"], "column age: 12,000 can have separators"),
        (["1.250", "3,5"], "column age: 3,5 and 1.250 can have separators"),
        (["1.250,5", "3"], "column age: 1.250,5 and 1.250,5 can have separators"),
        (["1,250,000", "3,5"], "line 2, column age: '1,250,000' is not a number"),
    ],
)
def test_commas_are_decimal_ones_where_semicolons_separate_or_else_refused(tmp_path, cells, values):
    table = read_table(write(tmp_path, "file;age\n" + "".join(f"{k}.png;{cell}\n" for k, cell in enumerate(cells))))
    if isinstance(values, str):
        with pytest.raises(ValueError, match=values):
            table.numbers("age")
    else:
        assert table.numbers("age") == pytest.approx(values, nan_ok=True)


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "labels.csv is empty"),
        ("\n\n,,\n", "labels.csv is empty"),
        ("file,age\n", "labels.csv has no rows below its columns file, age"),
        ("file,age\n,\n", "labels.csv has no rows"),
        ("file,age\na.png\n", "labels.csv, line 2: 1 cells, expected 2, one for each of the columns file, age"),
        ("file,age\na.png,40,5\n", "line 2: 3 cells, expected 2, .* A decimal comma"),
        ("file,age,age\na.png,1,2\n", "labels.csv has two columns age; rename or remove one"),
        ("file,age, age\na.png,1,2\n", "labels.csv has two columns age"),
        ('file,age\n"a.png,1\nb.png,2\n', "labels.csv cannot be read as a table: .*quotation mark"),
        ('file,age\n"a"x,1\n', "labels.csv cannot be read as a table"),
        (zipped(), "labels.csv is an Excel, LibreOffice or ZIP file, not text: save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "labels.csv is an old Excel file"),
        (b"\x1f\x8b\x08\x00", "labels.csv is a compressed file"),
        (b"PAR1\x15\x04", "labels.csv is a Parquet file"),
        (b"file,age\na\0b,1\n", "labels.csv is no text that can be read"),
        (ROWS.encode("utf-16")[:-1], "labels.csv is no text that can be read"),
        (b"file,\x81\na.png,1\n", "labels.csv is no text that can be read"),
    ],
)
def test_what_is_no_table_is_refused_by_its_name(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, content))


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ValueError, match="There is no table"):
        read_table(tmp_path / name)


@pytest.mark.parametrize(("find", "name"), [(find_volumes, "a.nii"), (find_images, "a.png")])
def test_data_lists_are_read_as_tables_are(tmp_path, find, name):
    (tmp_path / name).touch()
    content = f"image;subject\r\n{name};Müller\r\n".encode("cp1252")
    (item,) = find(tmp_path, data_list=write(tmp_path, content))
    assert item == {"image": str(tmp_path / name), "subject": "Müller"}
    with pytest.raises(ValueError, match=r"labels\.csv is an Excel"):
        find(tmp_path, data_list=write(tmp_path, zipped()))
