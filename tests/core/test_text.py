from trainyard.core.text import markdown_table


def test_a_table_has_a_line_a_row_whatever_its_cells_hold():
    rows = [("a | b", 1), ("two\nlines", None)]
    assert markdown_table(("what", "is"), rows).split("\n") == [
        "| what | is |",
        "|---|---|",
        "| a \\| b | 1 |",
        "| two lines | None |",
    ]


def test_a_table_without_rows_has_its_headings():
    assert markdown_table(["what"], []) == "| what |\n|---|"
