"""Folders as people lay datasets out, what the datasets library says of them, and those that are refused.

After the library's and the hub's documentation: file names and splits, manual configuration, repository structure.
"""

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Layout = dict[str, list[str]]


def card(yaml: str) -> str:
    return f"---\n{yaml}\n---\n# A dataset\n"


CONFIGURATIONS = card(
    """\
configs:
- config_name: main
  default: true
  data_files:
  - {split: train, path: "main/*.csv"}
  - {split: test, path: [main/held/out.csv, more.csv]}
- config_name: extra
  data_dir: extra"""
)
# name -> files, what else the source says, and each split's files, in order
LAYOUTS: dict[str, tuple[list[str], dict[str, str], Layout]] = {
    "one file": (["data.csv"], {}, {"train": ["data.csv"]}),
    "files of no split": (["b.jsonl", "a.jsonl"], {}, {"train": ["a.jsonl", "b.jsonl"]}),
    "split names": (
        ["train.csv", "test.csv", "validation.csv"],
        {},
        {"train": ["train.csv"], "validation": ["validation.csv"], "test": ["test.csv"]},
    ),
    "split names in a folder": (
        ["data/train.parquet", "data/test.parquet"],
        {},
        {"train": ["data/train.parquet"], "test": ["data/test.parquet"]},
    ),
    "numbered": (
        ["train_0.csv", "train_1.csv", "test_0.csv", "test_1.csv"],
        {},
        {"train": ["train_0.csv", "train_1.csv"], "test": ["test_0.csv", "test_1.csv"]},
    ),
    "shards": (
        ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/test-00000-of-00001.parquet"],
        {},
        {
            "train": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
            "test": ["data/test-00000-of-00001.parquet"],
        },
    ),
    "shards of splits of any name": (
        ["data/train-00000-of-00001-0a1b2c.jsonl", "data/random_test-00000-of-00001.jsonl"],
        {},
        {"train": ["data/train-00000-of-00001-0a1b2c.jsonl"], "random_test": ["data/random_test-00000-of-00001.jsonl"]},
    ),
    "folders of splits": (
        ["data/train/shard_0.csv", "data/train/shard_1.csv", "data/test/shard_0.csv"],
        {},
        {"train": ["data/train/shard_0.csv", "data/train/shard_1.csv"], "test": ["data/test/shard_0.csv"]},
    ),
    "folders in folders": (
        ["en/train/2023/a.txt", "en/train/2024/b.txt", "en/valid/2024/train.txt"],
        {},
        {"train": ["en/train/2023/a.txt", "en/train/2024/b.txt"], "validation": ["en/valid/2024/train.txt"]},
    ),
    "other words for splits": (
        ["training.csv", "dev.csv", "my-eval.csv"],
        {},
        {"train": ["training.csv"], "validation": ["dev.csv"], "test": ["my-eval.csv"]},
    ),
    "words between any marks": (
        ["news_train.v2.jsonl", "news.val.jsonl", "news 2024 testing.jsonl"],
        {},
        {"train": ["news_train.v2.jsonl"], "validation": ["news.val.jsonl"], "test": ["news 2024 testing.jsonl"]},
    ),
    "words within words": (["contest.csv", "interval.csv"], {}, {"train": ["contest.csv", "interval.csv"]}),
    "tabs": (["train.tsv", "test.tsv"], {}, {"train": ["train.tsv"], "test": ["test.tsv"]}),
    "lists and lines": (
        ["train-a.json", "train-b.jsonl", "train-c.ndjson"],
        {},
        {"train": ["train-a.json", "train-b.jsonl", "train-c.ndjson"]},
    ),
    "a licence and notes beside the data": (
        ["LICENSE.txt", "data.csv", "CHANGELOG.md", "README.md", ".gitattributes", "citation.bib"],
        {},
        {"train": ["data.csv"]},
    ),
    "two forms": (["train.csv", "train.parquet"], {}, {"train": ["train.parquet"]}),
    "what macOS and the hub's client leave": (
        ["train.csv", "._train.csv", ".DS_Store", "__MACOSX/train.csv", ".cache/huggingface/download/train.csv"],
        {},
        {"train": ["train.csv"]},
    ),
    "the library's own notes": (
        ["train.jsonl", "test.jsonl", "dataset_infos.json", "dataset_dict.json", "config.json"],
        {},
        {"train": ["train.jsonl"], "test": ["test.jsonl"]},
    ),
    "a folder of the repository": (
        ["raw/train.csv", "data/train.csv", "data/test.csv"],
        {"folder": "data"},
        {"train": ["data/train.csv"], "test": ["data/test.csv"]},
    ),
    "a folder a configuration": (
        ["small/train.jsonl", "large/train.jsonl"],
        {"configuration": "small"},
        {"train": ["small/train.jsonl"]},
    ),
    "a folder named for a configuration": (
        ["sample/10BT/000.parquet", "sample/10BT/001.parquet", "sample/100BT/000.parquet"],
        {"configuration": "sample-10BT", "folder": "sample/10BT"},
        {"train": ["sample/10BT/000.parquet", "sample/10BT/001.parquet"]},
    ),
    "the card's default": (
        [f"README.md={CONFIGURATIONS}", "main/a.csv", "main/b.csv", "main/held/out.csv", "more.csv", "extra/dev.csv"],
        {},
        {"train": ["main/a.csv", "main/b.csv"], "test": ["main/held/out.csv", "more.csv"]},
    ),
    "the card's configuration": (
        [f"README.md={CONFIGURATIONS}", "main/a.csv", "main/held/out.csv", "more.csv", "extra/dev.csv", "extra/x.csv"],
        {"configuration": "extra"},
        {"validation": ["extra/dev.csv"]},
    ),
    "a card that says otherwise than names": (
        [
            "README.md=" + card("configs:\n- config_name: default\n  data_files:\n  - {split: train, path: Test.csv}"),
            "Test.csv",
        ],
        {},
        {"train": ["Test.csv"]},
    ),
    "a card of its own": (
        [".huggingface.yaml=configs:\n- config_name: default\n  data_files: b.jsonl\n", "a.jsonl", "b.jsonl"],
        {},
        {"train": ["b.jsonl"]},
    ),
}


def lay(folder: Path, files: list[str]) -> None:
    """Write files with two rows each, whose texts name the file; after `=` is a content of another kind."""
    for file in files:
        name, _, content = file.partition("=")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"text": f"{name} 1"}, {"text": f"{name} 2"}]
        match path.suffix:
            case ".zip":
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("train.csv", "text\na\n")
            case _ if content:
                path.write_text(content)
            case ".parquet":
                pq.write_table(pa.Table.from_pylist(rows), path)
            case ".json":
                path.write_text("{}" if "_" in name or name == "config.json" else json.dumps(rows))
            case ".jsonl" | ".ndjson":
                path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            case ".csv" | ".tsv":
                path.write_text("text\n" + "".join(f"{row['text']}\n" for row in rows))
            case _:
                path.write_text("".join(f"{row['text']}\n" for row in rows))


REFUSED: dict[str, tuple[list[str], dict[str, str], str]] = {
    "capitals": (
        ["Train.csv", "Test.csv"],
        {},
        r"takes Test\.csv for the split train, though the name says test; name",
    ),
    "one of two": (["data.csv", "TEST.csv"], {}, r"takes TEST\.csv for the split train"),
    "folders in capitals": (["Train/a.csv", "Validation/a.csv"], {}, r"takes Validation/a\.csv for the split train"),
    "words of two": (["TrainData.csv", "TestData.csv"], {}, r"takes TestData\.csv for the split train"),
    "sets": (["trainset.csv", "testset.csv", "devset.csv"], {}, r"takes devset\.csv, testset\.csv for the split train"),
    "two splits": (["train_test.csv"], {}, r"takes train_test\.csv more than once, as train, test; name the files"),
    "compressed": (["LICENSE.txt", "train.jsonl.gz"], {}, r"train\.jsonl\.gz can't be read; known are"),
    "an archive": (["train.zip"], {}, r"train\.zip can't be read"),
    "another kind": (["train/cat.png", "test/cat.png"], {}, r"train/cat\.png can't be read; known are"),
    "two licences": (
        ["LICENSE.txt", "NOTICE.txt", "poems.jsonl"],
        {},
        r"takes LICENSE\.txt, NOTICE\.txt for the data, and leaves poems\.jsonl; move aside",
    ),
    "two licences beside what is compressed": (
        ["LICENSE.txt", "NOTICE.txt", "poems.csv.gz"],
        {},
        r"takes LICENSE\.txt, NOTICE\.txt for the data, and leaves poems\.csv\.gz",
    ),
    "no data": (["notes.doc", "README.md"], {}, r"No \(supported\) data files found"),
    "nothing": (["README.md"], {}, r"doesn't contain any data files"),
    "half of the shards": (["data/train-00001-of-00002.jsonl"], {}, r"data/train-00000-of-00002\*: missing"),
    "semicolons by the card": (
        ["data.csv", "README.md=" + card("configs:\n- config_name: default\n  data_files: data.csv\n  sep: ';'")],
        {},
        r"README\.md: the configuration default asks for sep: ';', which isn't done here",
    ),
    "a column by the card": (
        ["a.json", "README.md=" + card("configs:\n- config_name: default\n  data_files: a.json\n  field: data")],
        {},
        r"README\.md: the configuration default asks for field: 'data'",
    ),
    "elsewhere": (
        ["README.md=" + card("configs:\n- config_name: default\n  data_files: http://127.0.0.1:9/data.csv")],
        {},
        r"http://127\.0\.0\.1:9/data\.csv is not in the mirror|Unable to find 'http://127\.0\.0\.1:9/data\.csv'",
    ),
    "outside": (
        [
            "README.md=" + card("configs:\n- config_name: default\n  data_files: ../other/train.csv"),
            "../other/train.csv",
        ],
        {},
        r"(\.\./other/train\.csv is not a file of this repository|Unable to find .*/\.\./other/train\.csv)",
    ),
    "a configuration of no name": (["a.csv"], {"configuration": "small"}, r"'small' not found"),
    "a configuration that isn't chosen": (
        [
            "README.md=" + CONFIGURATIONS.replace("  default: true\n", ""),
            "main/a.csv",
            "main/held/out.csv",
            "more.csv",
            "extra/x.csv",
        ],
        {},
        r"Config name is missing\. Please pick one among the available configs: \['main', 'extra'\]",
    ),
    "a folder that isn't there": (["a.csv"], {"folder": "data"}, r" doesn't contain any data files"),
    "a damaged card": (["a.csv", "README.md=---\nconfigs: [\n---\n"], {}, r"expected the node content"),
    "damaged notes": (
        ["a.csv", "dataset_infos.json=not JSON"],
        {},
        r"dataset_infos\.json: not valid JSON|its answer can't be read",
    ),
}
