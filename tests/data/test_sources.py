from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from helpers import scrawl, write_scrawls
from penstroke.data.archives import MAX_FILE_BYTES
from penstroke.data.sources.contents import SourceOptions as Options
from penstroke.data.sources.listing import list_source, open_source, read_labelled_images
from penstroke.errors import ArchiveError, ConfigError, DataError, ImageError
from penstroke.preprocessing.decoding import read_grey


def labels(path: Path, options: Options | None = None) -> Counter[str]:
    return Counter(
        e.label for part in list_source(path, options or Options()).parts for e in part.images
    )


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.mnist
def test_real_images_by_table_and_by_folder_are_the_same(shared: Path) -> None:
    source = shared / "pen-photos.zip"
    by_table = {(s.name, s.label) for s in read_labelled_images(source)}
    by_folder = {(s.name, s.label) for s in read_labelled_images(source, Options(labels="folder"))}
    assert by_table == by_folder
    assert len(by_table) == 6200
    assert set(labels(source).values()) == {100}
    assert "labels.csv" in list_source(source, Options()).description


def test_folders_know_labels_and_splits(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "train", {"digit_3": 2, "upper_A": 1})
    write_scrawls(tmp_path / "validation", {"digit_3": 1})
    write_scrawls(tmp_path / "test", {"digit_3": 1, "lower_a": 1})
    (entries,) = (part.images for part in list_source(tmp_path, Options()).parts)
    assert [(e.name, e.given, e.label, e.split) for e in entries] == [
        ("test/digit_3/000.png", "digit_3", "3", "test"),
        ("test/lower_a/000.png", "lower_a", "a", "test"),
        ("train/digit_3/000.png", "digit_3", "3", "train"),
        ("train/digit_3/001.png", "digit_3", "3", "train"),
        ("train/upper_A/000.png", "upper_A", "A", "train"),
        ("validation/digit_3/000.png", "digit_3", "3", "validation"),
    ]


def test_what_systems_leave_behind_is_no_image(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 2, "b": 1, ".hidden": 1, "__MACOSX/a": 1})
    (tmp_path / "in/a/._000.png").write_bytes(scrawl(9))
    (tmp_path / "in/a/Thumbs.db").write_bytes(b"x")
    (tmp_path / "in/a/.DS_Store").write_bytes(b"x")
    (tmp_path / "in/loose.png").write_bytes(scrawl(9))
    for source in (tmp_path / "in", zipped(tmp_path / "in", tmp_path / "in.zip")):
        assert labels(source) == {"a": 2, "b": 1}
        assert any(
            "1 images outside the folder" in note for note in list_source(source, Options()).notes
        )


def test_formats_that_pillow_reads_and_files_that_are_left_out(tmp_path: Path) -> None:
    folder, image = tmp_path / "in/a", Image.open(io.BytesIO(scrawl(1))).convert("L")
    folder.mkdir(parents=True)
    suffixes = "png jpg jpeg jpe jfif webp tif bmp dib gif pgm ppm pbm pnm jp2 avif tga pcx ico"
    for suffix in suffixes.split():
        written = image.convert("1") if suffix == "pbm" else image
        written.save(folder / f"1.{suffix.upper()}", sizes=[image.size])
    for name in ("1.heic", "1.HEIF", "notes", "list.pdf"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "in/loose.png").write_bytes(scrawl(1))
    for source in (tmp_path / "in", zipped(tmp_path / "in", tmp_path / "in.zip")):
        assert labels(source) == {"a": len(suffixes.split())}
        assert all(read_grey(s.content).size for s in read_labelled_images(source))
        left_out = dict(list_source(source, Options()).left_out)
        assert sorted(left_out) == [
            "a/1.HEIF", "a/1.heic", "a/list.pdf", "a/notes", "loose.png",
        ]  # fmt: skip
        assert "save it as PNG or JPEG" in left_out["a/1.HEIF"]
        assert left_out["loose.png"] == "is outside the folder of a class"


def test_what_would_help_is_named(tmp_path: Path) -> None:
    (tmp_path / "a-1.png").write_bytes(scrawl(1))
    with pytest.raises(DataError, match="--pattern reads labels from the names"):
        list_source(tmp_path, Options())


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 1, "b": 1})
    write_scrawls(tmp_path / "elsewhere", {"secret": 1})
    (tmp_path / "in/a/out.png").symlink_to(tmp_path / "elsewhere/secret/000.png")
    (tmp_path / "in/secret").symlink_to(tmp_path / "elsewhere/secret")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/b/inside.png").symlink_to(tmp_path / "in/a/000.png")
    (tmp_path / "in/b/nowhere.png").symlink_to(tmp_path / "in/a/none.png")
    os.mkfifo(tmp_path / "in/b/pipe.png")  # reading it would never end
    found = list_source(tmp_path / "in", Options())
    assert labels(tmp_path / "in") == {"a": 1, "b": 2}
    assert sorted(found.notes) == [
        "1 links that lead out of the folder were not followed",
        "2 links to folders were not followed",
    ]


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ["ä ö.png", "new\nline.png", "日本.PNG", "a\u0301.png"]
    (tmp_path / "ß").mkdir()
    (tmp_path / "x").mkdir()
    for name in names:
        (tmp_path / "ß" / name).write_bytes(scrawl(1))
    with open(os.fsencode(tmp_path / "x") + b"/\xff.png", "wb") as file:  # noqa: PTH123 - bytes
        file.write(scrawl(2))
    assert labels(tmp_path) == {"ß": 4, "x": 1}
    for sample in read_labelled_images(tmp_path):
        assert sample.name.isprintable()
        sample.name.encode()


@pytest.mark.parametrize("name", ["../../a/up.png", "/b/root.png", "C:\\c\\windows.png"])
def test_a_zip_is_only_ever_read_in_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.zip"
    for names in (["./d/here.png"], ["./d/here.png", name]):
        with zipfile.ZipFile(path, "w") as archive:
            for member in names:
                archive.writestr(member, scrawl(1))
        before = sorted(tmp_path.rglob("*"))
        if len(names) == 1:
            assert [s.label for s in read_labelled_images(path)] == ["d"]
        else:
            with pytest.raises(ArchiveError, match="is refused"):
                list_source(path, Options())
        assert sorted(tmp_path.rglob("*")) == before


def lie_about_size(content: bytes) -> bytes:
    """Let the one file say that it has 1 kB, when it has 50 MB."""
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + at
        content = content[:start] + struct.pack("<I", 1000) + content[start + 4 :]
    return content


def test_large_and_damaged_files_in_a_zip_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/large.png", random.randbytes(16_000) * (MAX_FILE_BYTES // 16_000 + 1))
    honest = path.read_bytes()
    (part,) = list_source(path, Options()).parts
    for content, said in (
        (honest, "^has 50 MB, more than 50 MB"),
        (lie_about_size(honest), "^is damaged: Bad CRC"),
        (honest[:200] + b"\0\0\0\0" + honest[204:], "^has 50 MB|^is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=said):
            open_source(part.source)(part.images[0].place)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a/1.png", scrawl(1))
    with pytest.raises(ImageError, match="is compressed by method 14"):
        read_labelled_images(path)


def test_a_pattern_reads_labels_from_names(tmp_path: Path) -> None:
    for name in ("w1-A-01.png", "w1-b-02.png", "sub/w2-A-03.png", "odd.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(scrawl(1))
    options = Options(pattern=r"w\d+-(?P<label>.)-")
    assert labels(tmp_path, options) == {"A": 2, "b": 1}
    assert "1 images that the pattern does not match" in list_source(tmp_path, options).notes[0]


@pytest.mark.parametrize(
    ("pattern", "error", "said"),
    [
        ("(", ConfigError, "not a regular expression"),
        (r"w(\d)", ConfigError, "needs a group called label"),
        (
            r"z(?P<label>\d)",
            DataError,
            r"matches none of the 1 images.*example 'a/000\.png'",
        ),
    ],
)
def test_patterns_that_cannot_be(
    tmp_path: Path, pattern: str, error: type[Exception], said: str
) -> None:
    write_scrawls(tmp_path, {"a": 1})
    with pytest.raises(error, match=said):
        list_source(tmp_path, Options(pattern=pattern))


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ("file,label\na/000.png,x\nb/000.png,y\n", Options()),
        ("\ufefffile,label\r\na/000.png,x\r\nb/000.png,y\r\n", Options()),
        ("Label;File Name;writer, and more\nx;a/000.png;1\ny;./b\\000.png;2\n",
         Options(file_column="File Name")),
        ('filename\tclass\n"a/000.png"\t x \nb/000.png\ty', Options()),
        ("id,was,file\n1,x,a/000.png\n2,y,b/000.png\n3,,a/000.png\n", Options(label_column="was")),
        ("file,label\na/000.png,x\nb/000.png,y\nb/000.png,y\n", Options()),
    ],
)  # fmt: skip
def test_tables_as_people_write_them(tmp_path: Path, table: str, options: Options) -> None:
    write_scrawls(tmp_path / "in", {"a": 1, "b": 1})
    (tmp_path / "in/labels.csv").write_text(table, newline="")
    sources = [tmp_path / "in", zipped(tmp_path / "in", tmp_path / "in.zip")]
    for source in (*sources, tmp_path / "in/labels.csv"):
        assert labels(source, options) == {"x": 1, "y": 1}


def test_a_table_beside_a_zip_of_images(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"a": 1, "b": 1})
    packed = zipped(tmp_path / "in", tmp_path / "in.zip")
    table = tmp_path / "what.tsv"
    table.write_text("file\tlabel\tsplit\na/000.png\tx\ttest\nb/000.png\ty\tTrain\n")
    found = list_source(table, Options(images=packed))
    assert [(e.label, e.split) for e in found.parts[0].images] == [("x", "test"), ("y", "train")]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b"", Options(), "is empty"),
        (
            b"name,label\nx\n",
            Options(file_column="nam"),
            r"no column 'nam'.*mean \"name\".*'label'",
        ),
        (
            b"image,what\na/000.png,x\n",
            Options(),
            "no column for the label; .* 'image', 'what'",
        ),
        (
            b"a/000.png,x\nb/000.png,y\n",
            Options(),
            "first line of a CSV file names the columns",
        ),
        (
            b"file,label\na/000.png,x\na/000.png,y\n",
            Options(),
            "line 3: .*'y', but 'x' on line 2",
        ),
        (
            b"file,label\na/000.png,\xe9\n",
            Options(),
            "line 2: byte 0xe9 is not utf-8.*cp1252",
        ),
        (b"file,label\na/000.png,x\n", Options(encoding="klingon"), "'klingon' is unknown"),
        (b"file,label,split\na/000.png,x,maybe\n", Options(), "line 2: the split 'maybe'"),
        (b"file,label\n,\n", Options(), "no row with a file and a label"),
        (b"file,label\n\0\0", Options(), "zero bytes"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, content: bytes, options: Options, said: str) -> None:
    write_scrawls(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises((DataError, ConfigError), match=said):
        list_source(tmp_path, options)


def test_an_encoding_that_is_named(tmp_path: Path) -> None:
    write_scrawls(tmp_path, {"a": 1})
    (tmp_path / "labels.csv").write_bytes("file,label\na/000.png,é\n".encode("cp1252"))
    assert labels(tmp_path, Options(encoding="cp1252")) == {"é": 1}
    (tmp_path / "labels.csv").write_bytes("file,label\na/000.png,é\n".encode("utf-16"))
    assert labels(tmp_path) == {"é": 1}


def test_files_that_a_table_names_and_nobody_finds(tmp_path: Path) -> None:
    write_scrawls(tmp_path, {"a": 2})
    (tmp_path / "labels.csv").write_text(
        "file,label\na/000.png,x\na/9.png,y\n../a/000.png,z\n/etc/passwd,z\na/out.png,z\n"
    )
    (tmp_path / "a/out.png").symlink_to("/etc/passwd")
    for source in (tmp_path, tmp_path / "labels.csv"):
        found = list_source(source, Options())
        assert labels(source) == {"x": 1}
        assert [m.name for m in found.missing] == [
            "a/9.png", "../a/000.png", "/etc/passwd", "a/out.png",
        ]  # fmt: skip
    assert any(
        "1 images that are not in labels.csv" in note
        for note in list_source(tmp_path, Options()).notes
    )


def hugging_face(path: Path, rows: int, *, names: list[str] | None = None, group: int = 7) -> None:
    """Write what `datasets.Dataset.to_parquet` writes of an Image and a ClassLabel."""
    images = [{"bytes": scrawl(k), "path": f"{k}.png"} for k in range(rows)]
    table = pyarrow.table({
        "image": pyarrow.array(
            images, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        ),
        "label": pyarrow.array([k % 3 for k in range(rows)], pyarrow.int64()),
    })  # fmt: skip
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    info = json.dumps({"info": {"features": features}}) if names else "{}"
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": info}), path, row_group_size=group
    )


def test_parquet_as_hugging_face_writes_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    hugging_face(tmp_path / "data/train-00000-of-00001.parquet", 20, names=["x", "y", "z"])
    hugging_face(tmp_path / "data/test-00000-of-00001.parquet", 6, names=["x", "y", "z"])
    found = list_source(tmp_path, Options())
    assert Counter((e.label, e.split) for p in found.parts for e in p.images) == {
        ("x", "train"): 7, ("y", "train"): 7, ("z", "train"): 6,
        ("x", "test"): 2, ("y", "test"): 2, ("z", "test"): 2,
    }  # fmt: skip
    reader = open_source(found.parts[1].source)
    assert [reader(row) for row in (3, 4, 19, 0, 8)] == [scrawl(k) for k in (3, 4, 19, 0, 8)]
    with pytest.raises(ImageError):
        reader(20)
    assert reader(1) == scrawl(1)


def test_parquet_with_plain_bytes_and_a_column_of_splits(tmp_path: Path) -> None:
    path = tmp_path / "my.parquet"
    parquet.write_table(pyarrow.table({
        "png": [scrawl(1), scrawl(2), scrawl(3), None],
        "what": ["A", None, "3.5", "B"],
        "split": ["train", "train", "test", "validation"],
    }), path)  # fmt: skip
    found = list_source(path, Options(label_column="what"))
    (part,) = found.parts
    assert [(e.label, e.split) for e in part.images] == [
        ("A", "train"), ("3.5", "test"), ("B", "validation"),
    ]  # fmt: skip
    assert found.left_out == (("row 1 of my.parquet", "has no label (None)"),)
    with pytest.raises(ImageError, match="holds no bytes"):
        open_source(part.source)(3)


def test_parquet_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "my.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="not a valid Parquet file"):
        list_source(path, Options())
    parquet.write_table(pyarrow.table({"image": ["a.png"], "label": [1]}), path)
    with pytest.raises(DataError, match="column 'image' holds string, not the bytes"):
        list_source(path, Options())
    parquet.write_table(pyarrow.table({"image": [b"a"]}), path)
    with pytest.raises(DataError, match="no column for the label"):
        list_source(path, Options())


def test_damaged_pages_of_a_parquet_file_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "my.parquet"
    hugging_face(path, 40, group=16)
    whole = path.read_bytes()
    place = parquet.ParquetFile(path).metadata.row_group(0).column(2).data_page_offset
    path.write_bytes(whole[:place] + b"\xff" * 20 + whole[place + 20 :])
    with pytest.raises(DataError, match="column 'label' is damaged"):
        list_source(path, Options())
    place = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    path.write_bytes(whole[:place] + b"\xff" * 20 + whole[place + 20 :])
    reader = open_source(list_source(path, Options()).parts[0].source)
    for row in (0, 15, 3):
        assert reader(row) == scrawl(row)
        for damaged in (16, 39):
            with pytest.raises(ImageError, match="cannot be read"):
                reader(damaged)


def test_npz_as_keras_ships_mnist(tmp_path: Path) -> None:
    path = tmp_path / "my.npz"
    images = np.random.default_rng(0).integers(0, 255, (9, 12, 10, 3), np.uint8)
    np.savez_compressed(
        path, x_train=images[:6], y_train=np.arange(6) % 2, x_test=images[6:], y_test=np.ones(3)
    )
    found = list_source(path, Options())
    assert [Counter((e.label, e.split) for e in p.images) for p in found.parts] == [
        {("0", "train"): 3, ("1", "train"): 3},
        {("1", "test"): 3},
    ]
    reader = open_source(found.parts[0].source)
    for row in (0, 1, 5, 2):
        assert np.array_equal(reader(row), images[row])
    assert not found.are_preprocessed


def test_arrays_like_mnists_are_known(tmp_path: Path) -> None:
    """However the values are written: the same images are the same, and taken as they are."""
    images = np.zeros((50, 28, 28), np.uint8)
    images[:, 6:22, 10:18] = np.arange(50)[:, None, None] * 5
    for name, written, are_preprocessed in (
        ("mnist", images, True),
        ("a channel", images[..., None], True),
        ("torch's order", images[:, None], True),
        ("flat", images.reshape(50, 784), True),
        ("int64", images.astype(np.int64), True),
        ("of floats to 255", images.astype(np.float32), True),
        ("of floats to 1", (images / 255).astype(np.float32), True),
        ("-1 to 1", images / 127.5 - 1, True),
        ("uint16", images.astype(np.uint16) * 257, True),
        ("dark on light", 255 - images, False),
        ("smaller", images[:, 2:, 2:], False),
    ):
        np.savez(tmp_path / "my.npz", images=written, labels=(np.arange(50) % 5)[:, None])
        found = list_source(tmp_path / "my.npz", Options())
        assert found.are_preprocessed == are_preprocessed, name
        reader = open_source(found.parts[0].source)
        if are_preprocessed:
            assert all(np.array_equal(reader(row), images[row]) for row in range(50)), name


WRITTEN = ("5", "5.0", "05", " 5 ", "5.", "5,0", "5.000000000000000000e+00", "+5", "5.00")
MISSING = ("", "nan", "NaN", "None", "null", "NA", "N/A", "<NA>")


def as_table(path: Path, labels: list[str]) -> Path:
    write_scrawls(path / "img", {"a": len(labels)})
    rows = "".join(f"a/{row:03}.png;{label}\n" for row, label in enumerate(labels))
    (path / "img/labels.csv").write_text("file;label\n" + rows)
    return path / "img"


def as_npz(path: Path, labels: list[str]) -> Path:
    np.savez(path / "my.npz", images=np.zeros((len(labels), 9, 9), np.uint8), labels=labels)
    return path / "my.npz"


def as_parquet(path: Path, labels: list[str]) -> Path:
    table = {"image": [scrawl(1)] * len(labels), "label": labels}
    parquet.write_table(pyarrow.table(table), path / "my.parquet")
    return path / "my.parquet"


@pytest.mark.parametrize("write", [as_table, as_npz, as_parquet])
def test_one_rule_for_labels_of_all_sources(
    tmp_path: Path, write: Callable[[Path, list[str]], Path]
) -> None:
    others = ["3.5", "x", "5a", "٥", "-1.0", "0.0", "1e5", "None?"]
    source = write(tmp_path, [*WRITTEN, *MISSING, *others])
    assert labels(source) == {
        "5": len(WRITTEN), "3.5": 1, "x": 1, "5a": 1, "٥": 1, "-1": 1, "0": 1, "1e5": 1, "None?": 1,
    }  # fmt: skip
    left_out = list_source(source, Options()).left_out
    assert len(left_out) == len(MISSING)
    assert all("has no label (" in reason for _, reason in left_out)


def test_numbers_as_values_follow_the_rule_of_labels(tmp_path: Path) -> None:
    numbers = [5.0, 3.0, float("nan"), 0.5]
    np.savez(tmp_path / "my.npz", images=np.zeros((4, 9, 9), np.uint8), labels=numbers)
    table = {"image": [scrawl(1)] * 4, "label": numbers}
    parquet.write_table(pyarrow.table(table), tmp_path / "my.parquet")
    for name in ("my.npz", "my.parquet"):
        assert labels(tmp_path / name) == {"5": 1, "3": 1, "0.5": 1}
        assert len(list_source(tmp_path / name, Options()).left_out) == 1


def test_numbers_in_names_of_folders_and_files_follow_the_rule_of_labels(tmp_path: Path) -> None:
    write_scrawls(tmp_path / "in", {"5": 1, "digit_05": 1, "5.0": 1, "007": 1, "nan": 1, "a": 1})
    assert labels(tmp_path / "in") == {"5": 3, "7": 1, "nan": 1, "a": 1}
    assert labels(tmp_path / "in", Options(pattern=r"(?P<label>\d+)[/.]")) == {
        "5": 3, "0": 2, "7": 1,
    }  # fmt: skip


def test_a_file_labelled_5_and_5_0_is_no_contradiction(tmp_path: Path) -> None:
    write_scrawls(tmp_path, {"a": 1})
    (tmp_path / "labels.csv").write_text(
        "file,label,split\na/000.png,5,nan\na/000.png,5.0,\n,5,\na/001.png,nan,test\n"
    )
    assert labels(tmp_path) == {"5": 1}
    assert list_source(tmp_path, Options()).left_out == (
        (f"{tmp_path}/labels.csv, line 4", "names no file"),
        ("a/001.png", f"has no label (nan; {tmp_path}/labels.csv, line 5)"),
    )


def test_hugging_faces_number_for_no_label(tmp_path: Path) -> None:
    hugging_face(tmp_path / "my.parquet", 6, names=["x", "05"])  # 2 has no name
    assert labels(tmp_path / "my.parquet") == {"x": 2, "5": 2}
    assert len(list_source(tmp_path / "my.parquet", Options()).left_out) == 2


def pickled() -> dict[str, object]:
    return {"images": np.array([{"a": 1}], object), "labels": np.zeros(1, int)}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (pickled, "Python objects, which are never loaded"),
        (lambda: {"images": np.zeros((3, 28, 28)), "labels": np.zeros(2)}, "3 images, but .* 2"),
        (lambda: {"images": np.zeros((3, 785)), "labels": np.zeros(3)}, r"shape \(3, 785\)"),
        (lambda: {"images": np.zeros((3, 8, 8)), "labels": np.zeros((3, 10))}, "argmax"),
        (lambda: {"a": np.zeros(3)}, r"its arrays are a \(3,\)"),
        (lambda: {"images": np.asfortranarray(np.zeros((3, 8, 8))), "labels": np.zeros(3)},
         "Fortran"),
    ],
)  # fmt: skip
def test_npz_that_cannot_be(
    tmp_path: Path, make: Callable[[], dict[str, np.ndarray]], said: str
) -> None:
    np.savez(tmp_path / "my.npz", allow_pickle=True, **make())
    with pytest.raises(DataError, match=said):
        list_source(tmp_path / "my.npz", Options())
    content = (tmp_path / "my.npz").read_bytes()
    promising = content.replace(b"(3,", b"(9,")
    for damaged in (content[: len(content) // 2], promising):
        (tmp_path / "my.npz").write_bytes(damaged)
        with pytest.raises(DataError):
            list_source(tmp_path / "my.npz", Options())
    (tmp_path / "my.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not a zip file"):
        list_source(tmp_path / "my.npz", Options())


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(b"x" * 600)
    (tmp_path / "in.zip").write_bytes(io.BytesIO(b"PK\x03\x04 no zip").getvalue())
    (tmp_path / "empty").mkdir()
    for name, options, said in (
        ("nowhere", Options(), "there is no folder or file"),
        ("in.tar", Options(), "is not a folder"),
        ("in.zip", Options(), "is not a zip"),
        ("empty", Options(), r"holds no images \(\.png"),
        ("empty", Options(labels="table"), "holds no labels.csv"),
    ):
        with pytest.raises(DataError, match=said):
            list_source(tmp_path / name, options)
