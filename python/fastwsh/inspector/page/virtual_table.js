// A table of any length that has elements only for the rows in sight.

import { element } from "./format.js";

export const ROW_HEIGHT = 30;
const SPARE = 8;

export class VirtualTable {
  // `render(index)` returns how to make the cells of a row, its class, and a key that is another one
  // when the cells are; or null if they are not there yet.
  constructor(scroller, { render, choose, moved, columns }) {
    this.scroller = scroller;
    this.table = scroller.querySelector("table");
    this.table.classList.add("virtual");
    this.body = scroller.querySelector("tbody");
    this.render = render;
    this.choose = choose;
    this.moved = moved;
    this.columns = columns;
    this.count = 0;
    this.active = 0;
    this.selected = -1;
    this.first = 0;
    scroller.addEventListener("scroll", () => this.schedule());
    new ResizeObserver(() => this.schedule()).observe(scroller);
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[aria-rowindex]");
      if (row) this.open(Number(row.getAttribute("aria-rowindex")) - 2);
    });
    scroller.addEventListener("keydown", (event) => this.key(event));
  }

  get shown() {
    return Math.ceil(this.scroller.clientHeight / ROW_HEIGHT) + 2 * SPARE;
  }

  setCount(count) {
    this.count = count;
    this.active = Math.max(0, Math.min(this.active, count - 1));
    this.table.setAttribute("aria-rowcount", count + 1);
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    // another view is shown
    if (this.scroller.clientHeight === 0) return;
    const top = Math.floor(this.scroller.scrollTop / ROW_HEIGHT) - SPARE;
    const first = Math.max(0, Math.min(top, this.count - this.shown));
    if (first !== this.first) {
      this.first = first;
      this.moved?.(first, this.shown);
    }
    const last = Math.min(this.count, first + this.shown);
    const before = this.rows ?? new Map();
    this.rows = new Map();
    for (let index = first; index < last; index += 1) this.rows.set(index, this.update(before.get(index), index));
    const [above, below] = [this.pad(first), this.pad(this.count - last)];
    if (before.size === this.rows.size && [...before.keys()].every((index) => this.rows.has(index)) && this.body.childElementCount > 1) {
      // the same rows: they stay where they are, so that a click that has begun finds its row
      this.body.firstElementChild.replaceWith(above);
      this.body.lastElementChild.replaceWith(below);
      return;
    }
    const hadFocus = this.body.contains(document.activeElement);
    this.body.replaceChildren(above, ...this.rows.values(), below);
    if (hadFocus) this.row(this.active)?.focus({ preventScroll: true });
  }

  update(row, index) {
    const found = this.render(index) ?? { key: "", kind: "", cells: () => [] };
    row ??= element("tr", { "aria-rowindex": index + 2 });
    if (row.shownKey !== found.key) {
      row.shownKey = found.key;
      row.className = found.kind;
      row.replaceChildren(...found.cells());
    }
    row.tabIndex = index === this.active ? 0 : -1;
    if (index === this.selected) row.setAttribute("aria-selected", "true");
    else row.removeAttribute("aria-selected");
    return row;
  }

  pad(rows) {
    const cell = element("td", { colspan: this.columns });
    cell.style.height = `${rows * ROW_HEIGHT}px`;
    const row = element("tr", { class: "pad", "aria-hidden": "true" }, cell);
    row.hidden = rows <= 0;
    return row;
  }

  row(index) {
    return this.body.querySelector(`tr[aria-rowindex="${index + 2}"]`);
  }

  open(index) {
    this.active = index;
    this.selected = index;
    this.choose(index);
    this.draw();
    this.row(index)?.focus({ preventScroll: true });
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW_HEIGHT) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.target.closest("thead") || this.count === 0) return;
    if (event.key in steps) {
      event.preventDefault();
      this.active = Math.max(0, Math.min(this.count - 1, this.active + steps[event.key]));
      const top = this.active * ROW_HEIGHT;
      const { scrollTop, clientHeight } = this.scroller;
      if (top < scrollTop) this.scroller.scrollTop = top;
      else if (top + 3 * ROW_HEIGHT > scrollTop + clientHeight) this.scroller.scrollTop = top + 3 * ROW_HEIGHT - clientHeight;
      this.draw();
      this.row(this.active)?.focus({ preventScroll: true });
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.open(this.active);
    }
  }
}
