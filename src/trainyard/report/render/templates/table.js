"use strict";
// A click on a heading sorts its table; rows of a section stay in it. Empty cells come last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.querySelectorAll("thead tr:last-child th")];
  headings.forEach((heading, column) => heading.addEventListener("click", () => {
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const direction = before === "ascending" ? -1 : 1;
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return direction * (numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true }));
    };
    for (const body of table.tBodies) {
      const rows = [...body.rows];
      if (rows[0].cells.length === headings.length) body.append(...rows.sort(compare));
    }
  }));
}
// Opened beside the results, a path is a link; inside a report file it is text to copy.
if (/^(file|https?):$/.test(location.protocol) && location.pathname.includes("/report/")) {
  for (const path of document.querySelectorAll("span.path")) {
    const link = document.createElement("a");
    link.href = "../../../" + path.textContent.split("/").map(encodeURIComponent).join("/");
    link.textContent = path.textContent;
    path.replaceChildren(link);
  }
}
