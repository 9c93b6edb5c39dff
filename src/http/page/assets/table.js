// Draws the visible rows, out of any number. The table is a grid with one stop for the Tab key; arrow keys move within it.

import { el, setAttribute, setText } from "./dom.js";
import { now } from "./clock.js";
import { createRow } from "./row.js";

/** How many rows beyond the edges are drawn. */
const MARGIN = 6;

const COLUMNS = [
  ["id", "Sandbox", "id"],
  ["status", "Status", "status"],
  ["meta", "Metadata", "metadata"],
  ["left", "Time left", "left"],
  ["used", "Kept alive by", "used"],
  ["acts", "", null],
];

export class Table {
  #parts;
  #view;
  #handlers;
  #rows = new Map();
  #spare = [];
  #focus = { id: null, column: 0 };
  #height = 0;

  /** `parts`: `scroller`, `table`, `head`, `body`; `handlers`: `open(id)`, `act(action, entry)`, `sort(order)`. */
  constructor(parts, view, handlers) {
    [this.#parts, this.#view, this.#handlers] = [parts, view, handlers];
    const { scroller, head, body } = parts;
    for (const [kind, title, order] of COLUMNS) {
      const sort = order && el("button", { type: "button", onclick: () => handlers.sort(order) }, title);
      head.append(el("th", { role: "columnheader", scope: "col", class: kind }, sort || el("span", { class: "unseen" }, "Actions")));
    }
    scroller.addEventListener("scroll", () => this.render(), { passive: true });
    // The style sets the height of rows, which depends on the width of the page.
    new ResizeObserver(() => {
      this.#measure();
      this.render();
    }).observe(scroller);
    this.#measure();
    body.addEventListener("keydown", (event) => this.#key(event));
    body.addEventListener("focusin", (event) => this.#focused(event));
    body.addEventListener("pointerenter", () => (view.held = true));
    body.addEventListener("pointerleave", () => (view.held = false));
  }

  showOrder(order, reverse) {
    COLUMNS.forEach(([, , by], index) => {
      const direction = reverse ? "descending" : "ascending";
      setAttribute(this.#parts.head.children[index], "aria-sort", by === order ? direction : null);
    });
  }

  /** Changes the headings for ended sandboxes, which have no time left. */
  showGroup(group) {
    const [left, used] = group === "ended" ? ["Ended", "Why"] : ["Time left", "Kept alive by"];
    setText(this.#parts.head.querySelector(".left button"), left);
    setText(this.#parts.head.querySelector(".used button"), used);
  }

  #measure() {
    this.#height = parseFloat(getComputedStyle(this.#parts.body).getPropertyValue("--row"));
  }

  /** Draws the rows that are in sight. */
  render() {
    const { scroller, table, body } = this.#parts;
    const { rows } = this.#view;
    setAttribute(table, "aria-rowcount", rows.length + 1);
    body.style.height = `${rows.length * this.#height}px`;
    const first = Math.max(0, Math.floor(scroller.scrollTop / this.#height) - MARGIN);
    const last = Math.min(rows.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / this.#height) + MARGIN);
    const focused = this.#focusedRow();
    const wanted = new Map();
    // A focused row is kept, or the focus would be lost.
    const kept = focused ? rows.findIndex((entry) => entry.id === focused) : -1;
    if (kept >= 0 && kept < first) wanted.set(rows[kept].id, kept);
    for (let index = first; index < last; index += 1) wanted.set(rows[index].id, index);
    if (kept >= last) wanted.set(rows[kept].id, kept);
    this.#recycle(wanted, focused);
    this.#place(rows, wanted);
  }

  /** Called every second. */
  tick() {
    const time = now();
    for (const row of this.#rows.values()) row.tick(time);
  }

  #recycle(wanted, focused) {
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      const place = id === focused ? this.#placeOf(id) : null;
      row.element.remove();
      this.#rows.delete(id);
      this.#spare.push(row);
      if (place !== null) this.#moveFocusTo = place;
    }
  }

  #moveFocusTo = null;

  #placeOf(id) {
    return Number(this.#rows.get(id).element.getAttribute("aria-rowindex")) - 2;
  }

  #place(rows, wanted) {
    const { body } = this.#parts;
    const active = document.activeElement;
    const hadFocus = body.contains(active);
    let next = body.firstElementChild;
    for (const [id, index] of wanted) {
      let row = this.#rows.get(id);
      if (!row) {
        row = this.#spare.pop() ?? createRow(this.#handlers);
        this.#rows.set(id, row);
      }
      row.update(rows[index], index, this.#height);
      if (row.element === next) next = next.nextElementSibling;
      else body.insertBefore(row.element, next);
    }
    this.#spare.length = Math.min(this.#spare.length, 64);
    // Moving an element in the document would take its focus away.
    if (hadFocus && document.activeElement !== active && active.isConnected) active.focus({ preventScroll: true });
    if (this.#moveFocusTo !== null) {
      // The focused row is gone: focus the name in the row at its place, and not a button that ends that sandbox.
      const place = Math.min(this.#moveFocusTo, rows.length - 1);
      this.#moveFocusTo = null;
      if (place >= 0) this.#go(place, 0);
    }
    this.#rove();
  }

  #focusedRow() {
    return this.#parts.body.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.id : null;
  }

  /** Makes one control of the grid the stop for Tab. */
  #rove() {
    if (!this.#rows.has(this.#focus.id)) this.#focus.id = this.#parts.body.firstElementChild?.dataset.id ?? null;
    for (const [id, row] of this.#rows) {
      row.controls.forEach((control, column) => {
        const stop = id === this.#focus.id && column === this.#focus.column ? 0 : -1;
        if (control.tabIndex !== stop) control.tabIndex = stop;
      });
    }
  }

  #focused({ target }) {
    const id = target.closest("tr")?.dataset.id;
    const column = this.#rows.get(id)?.controls.indexOf(target) ?? -1;
    if (column < 0) return;
    this.#focus = { id, column };
    this.#rove();
  }

  #key(event) {
    const { rows } = this.#view;
    const at = rows.findIndex((entry) => entry.id === this.#focus.id);
    const { column } = this.#focus;
    const page = Math.max(1, Math.floor(this.#parts.scroller.clientHeight / this.#height) - 2);
    const moves = {
      ArrowDown: [at + 1, column],
      ArrowUp: [at - 1, column],
      ArrowRight: [at, column + 1],
      ArrowLeft: [at, column - 1],
      PageDown: [Math.min(at + page, rows.length - 1), column],
      PageUp: [Math.max(at - page, 0), column],
      Home: [0, column],
      End: [rows.length - 1, column],
    };
    const move = moves[event.key];
    if (!move || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#go(...move);
  }

  #go(index, column) {
    const entry = this.#view.rows[index];
    if (!entry || column < 0 || column > 3) return;
    const { scroller } = this.#parts;
    const [top, bottom] = [index * this.#height, (index + 1) * this.#height];
    const head = this.#parts.head.offsetHeight;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (bottom > scroller.scrollTop + scroller.clientHeight - head) scroller.scrollTop = bottom - scroller.clientHeight + head;
    this.#focus = { id: entry.id, column };
    if (!this.#rows.has(entry.id)) this.render();
    this.#rows.get(entry.id)?.controls[column].focus({ preventScroll: true });
  }
}
