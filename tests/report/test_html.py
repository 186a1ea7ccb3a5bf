import csv
import io

from trainyard.report.render.html import (
    Cell,
    Column,
    Row,
    Table,
    find_best_cells,
    join_units,
    render_fragment,
    to_csv,
    write_table,
)

HOSTILE = "<script>alert(1)</script>\"' &"


def table(cells):
    return Table(
        "T", [Column("name", "name", text=True), Column("x", "x", best="high")], [Row({"x": cell}) for cell in cells]
    )


def test_text_from_data_is_escaped_wherever_it_stands(tmp_path):
    cell = Cell(HOSTILE, HOSTILE, tip=HOSTILE, kind="code")
    hostile = Table(HOSTILE, [Column("x", HOSTILE, HOSTILE, tip=HOSTILE)], [Row({"x": cell}, HOSTILE)], [HOSTILE])
    write_table(hostile, HOSTILE, tmp_path / "t.html", tmp_path / "t.csv")
    page = (tmp_path / "t.html").read_text()
    assert "<script>alert" not in page
    assert page.count("<script>") == 1  # our own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_page_needs_no_other_file(tmp_path):
    write_table(table([Cell("1", 1)]), "study", tmp_path / "t.html", tmp_path / "t.csv")
    page = (tmp_path / "t.html").read_text()
    assert "src=" not in page
    assert "<link" not in page
    assert "@import" not in page


def test_the_best_is_found_and_what_noise_can_not_tell_from_it():
    cells = [
        Cell("9", 9.0, {"standard_error": 1.0}),
        Cell("8", 8.0, {"standard_error": 1.0}),
        Cell("5", 5.0, {"standard_error": 1.0}),
    ]
    best, near = find_best_cells(table(cells))
    assert best == {id(cells[0])}
    assert near == {id(cells[1])}


def test_what_a_test_says_comes_before_standard_errors():
    cells = [Cell("9", 9.0, {"standard_error": 1.0})]
    cells += [Cell("8", 8.0, {"standard_error": 1.0}, noise=noise) for noise in (False, None)]
    cells.append(Cell("1", 1.0, {"standard_error": 1.0}, noise=True))
    assert find_best_cells(table(cells))[1] == {id(cells[2]), id(cells[3])}


def test_the_dotted_line_is_under_the_value_alone():
    cells = [Cell("9", 9.0), Cell("8", 8.0, detail="± 1.0\n[6.0, 10.0]", noise=True)]
    assert '<span class="near">8</span> <small>± 1.0\n[6.0, 10.0]</small>' in render_fragment(table(cells))


def test_only_rivals_compete():
    cells = [Cell("9", 9.0, rivals="a"), Cell("8", 8.0, rivals="b"), Cell("7", 7.0, rivals="b")]
    best, _ = find_best_cells(table(cells))
    assert best == {id(cells[1])}


def test_one_value_alone_or_equal_ones_are_no_best():
    assert find_best_cells(table([Cell("9", 9.0)])) == (set(), set())
    assert find_best_cells(table([Cell("9", 9.0), Cell("9", 9.0)])) == (set(), set())


def test_rows_set_apart_never_compete():
    shown = table([Cell("1", 1.0), Cell("2", 2.0)])
    shown.rows.append(Row({"x": Cell("99", 99.0)}, "Published"))
    assert find_best_cells(shown)[0] == {id(shown.rows[1].cells["x"])}
    assert "Published" in render_fragment(shown)


def test_the_csv_holds_raw_values_with_what_belongs_to_them_beside():
    shown = table([Cell("54.2 %", 0.5421, {"n": 2000}), Cell("—", None)])
    shown.rows[0].cells["name"] = Cell("a, b", "a, b")
    shown.rows.append(Row({"x": Cell("1", 1)}, "Published"))
    rows = list(csv.DictReader(io.StringIO(to_csv(shown))))
    assert rows[0] == {"name": "a, b", "x": "0.5421", "x_n": "2000", "section": ""}
    assert rows[1]["x"] == ""
    assert rows[2]["section"] == "Published"


def test_an_empty_table_says_so():
    assert "Nothing here" in render_fragment(Table("T", [Column("x", "x")], [], empty="Nothing here"))


def test_a_column_may_stand_in_the_csv_alone():
    shown = Table(
        "T", [Column("x", "x"), Column("y", "hidden", shown=False)], [Row({"x": Cell("1", 1), "y": Cell("2", 2)})]
    )
    assert "hidden" not in render_fragment(shown)
    assert to_csv(shown) == "x,y\n1,2\n"


def test_a_number_stays_on_the_line_of_its_unit_and_error():
    space = "\N{NO-BREAK SPACE}"
    assert join_units("54.2 ± 1.1 % in 2 min 15 s, 3 sizes") == (
        f"54.2{space}±{space}1.1{space}% in 2{space}min 15{space}s, 3 sizes"
    )
