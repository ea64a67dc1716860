"use strict";
// Tables that sort and periodic tables that tell; without this script the page shows the same numbers.

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, k, kind) => {
    const cell = row.cells[k];
    if (kind === "text") return cell.textContent.trim().toLowerCase();
    return cell.dataset.value ? Number(cell.dataset.value) : null;
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  heads.forEach((head, k) => {
    const kind = head.dataset.sort;
    if (!kind) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [value(row, k, kind), row]);
      const known = rows.filter(([v]) => v !== null).sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
      body.append(...[...known, ...rows.filter(([v]) => v === null)].map(([, row]) => row));
    });
  });
}

function periodic(root) {
  const cells = [...root.querySelectorAll(".held")];
  const told = root.querySelector(".told");
  const choice = root.querySelector(".choice");
  told.hidden = false;
  const tell = (cell) => { told.textContent = cell.getAttribute("aria-label"); };
  const enter = (cell) => {
    cells.forEach((other) => { other.tabIndex = other === cell ? 0 : -1; });
    cell.focus();
  };
  const place = (cell) => [Number(cell.style.gridRowStart), Number(cell.style.gridColumnStart)];
  const step = (cell, down, right) => {
    const [row, column] = place(cell);
    const beyond = cells.filter((other) => {
      const [r, c] = place(other);
      return other !== cell && (down ? Math.sign(r - row) === down : r === row && Math.sign(c - column) === right);
    });
    const far = (other) => {
      const [r, c] = place(other);
      return Math.abs(r - row) * (down ? 100 : 1) + Math.abs(c - column);
    };
    return beyond.sort((a, b) => far(a) - far(b))[0];
  };
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  cells.forEach((cell, n) => {
    cell.tabIndex = n ? -1 : 0;
    cell.addEventListener("mouseenter", () => tell(cell));
    cell.addEventListener("click", () => tell(cell));
    cell.addEventListener("focus", () => tell(cell));
    cell.addEventListener("keydown", (event) => {
      if (!moves[event.key]) return;
      event.preventDefault();
      const next = step(cell, ...moves[event.key]);
      if (next) enter(next);
    });
  });
  if (!choice) return;
  choice.hidden = false;
  choice.querySelector("select").addEventListener("change", (event) => {
    const layer = event.target.value;
    cells.forEach((cell) => {
      const [colour, text, value] = cell.dataset[layer].split("|");
      cell.style.background = colour;
      cell.style.color = text;
      cell.querySelector("small").textContent = value;
    });
    root.querySelectorAll(".key").forEach((key) => { key.hidden = key.dataset.layer !== layer; });
  });
}

document.querySelectorAll("table[data-sortable]").forEach(sortable);
document.querySelectorAll("[data-periodic]").forEach(periodic);
