// The table of connections: the server sorts and filters, this shows the rows in sight.

import { bytes, duration, element, number, plural, save } from "./format.js";
import { VirtualTable } from "./virtual_table.js";

const get = (id) => document.getElementById(id);
const AROUND = 40;
const WORKER = ["worker", null, "number"];
const COLUMNS = [
  ["#", "id", "number"], ["path", "path", "mono"], ["peer", "peer", "mono wide-only"], ["HTTP", null, "wide-only"],
  ["subprotocol", null, "wide-only"], ["age", null, "number"], ["messages in / out", "messages", "number"],
  ["bytes in / out", "bytes", "number wide-only"], ["waiting", "waiting", "number wide-only"], ["state", null, ""],
];

export class Connections {
  constructor(feed, { open }) {
    this.feed = feed;
    this.query = { key: "id", descending: true, offset: 0, count: 60 };
    this.rows = [];
    this.offset = 0;
    this.columns = COLUMNS;
    this.asked = 0;
    this.head();
    this.table = new VirtualTable(get("connection-scroll"), {
      columns: COLUMNS.length,
      render: (index) => this.cells(this.rows[index - this.offset]),
      choose: (index) => {
        const row = this.rows[index - this.offset];
        if (row) open(row.id);
      },
      moved: (first, count) => this.fetch(first, count),
    });
    let timer;
    get("find").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.refine(), 120);
    });
    get("which").addEventListener("change", () => this.refine());
    get("export-all").addEventListener("click", () => this.export());
    feed.on("connections", (page) => this.show(page));
    feed.on("samples", ({ workers }) => {
      if (workers.length > 0 === this.columns.includes(WORKER)) return;
      this.columns = workers.length ? [COLUMNS[0], WORKER, ...COLUMNS.slice(1)] : COLUMNS;
      this.table.columns = this.columns.length;
      this.head();
    });
  }

  // Asks for the rows in sight and some around them, unless they are there or asked for; not for
  // each step of a scroll.
  fetch(first, count) {
    const { offset, count: asked } = this.query;
    if (first >= offset && first + count <= offset + asked) return;
    Object.assign(this.query, { offset: Math.max(0, first - AROUND), count: count + 2 * AROUND });
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.watch();
    }, 50);
  }

  head() {
    get("connection-head").replaceChildren(
      ...this.columns.map(([title, key, kind]) => {
        const sorted = key !== null && key === this.query.key;
        const arrow = sorted ? (this.query.descending ? " ↓" : " ↑") : "";
        const sort = sorted ? (this.query.descending ? "descending" : "ascending") : null;
        const cell = element("th", { scope: "col", class: kind.replace("mono", "") || null, "aria-sort": sort });
        if (key === null) cell.append(title);
        else {
          const button = element("button", { type: "button" }, title + arrow);
          button.addEventListener("click", () => this.sort(key));
          cell.append(button);
        }
        return cell;
      }),
    );
  }

  sort(key) {
    const descending = this.query.key === key ? !this.query.descending : !["path", "peer"].includes(key);
    Object.assign(this.query, { key, descending });
    this.head();
    get("connection-head").children[this.columns.findIndex((column) => column[1] === key)].querySelector("button").focus();
    this.watch();
  }

  refine() {
    get("connection-scroll").scrollTop = 0;
    this.query.offset = 0;
    this.watch();
  }

  watch() {
    if (get("connections").hidden) return;
    const which = get("which").value;
    const [open, ended] = [which !== "ended", which !== "open"];
    this.asked += 1;
    this.feed.watch({ view: "connections", ...this.query, open, ended, filter: get("find").value.trim(), query: this.asked });
  }

  show(page) {
    // an answer to what was asked before
    if (page.query !== this.asked) return;
    this.rows = page.rows;
    this.offset = page.offset;
    this.arrived = Date.now() / 1000;
    get("matching").textContent = `${plural(page.matching, "connection")} (${number(page.open)} open, ${number(page.ended)} ended)`;
    this.table.setCount(page.matching);
  }

  cells(row) {
    if (!row) return null;
    const cell = (text, kind) => element("td", { class: kind || null, title: text }, text);
    const [text, badge] = stateOf(row);
    const values = [
      String(row.id), ...(row.worker ? [String(row.worker)] : []), row.resource, row.peer, row.version.replace("HTTP/", ""), row.subprotocol || "–",
      duration((row.ended ?? this.arrived) - row.started), `${number(row.received[0])} / ${number(row.sent[0])}`,
      `${bytes(row.received[1])} / ${bytes(row.sent[1])}`, row.waiting ? bytes(row.waiting) : "–",
    ];
    return {
      key: [...values, text].join("\n"),
      kind: row.ended ? "ended" : "",
      cells: () => [
        ...values.map((value, at) => cell(value, this.columns[at][2])),
        element("td", {}, element("span", { class: `badge ${badge}` }, text)),
      ],
    };
  }

  async export() {
    try {
      const { text, missing } = await this.feed.act("har", { secrets: get("all-secrets").checked });
      save("connections.har", text, "application/json");
      get("matching").textContent = missing.length ? `saved, but: ${missing.slice(0, 3).join("; ")}` : "saved";
    } catch (error) {
      get("matching").textContent = `not saved: ${error.message}`;
    }
  }
}

export function stateOf(row) {
  if (row.ended === null) {
    if (row.pace === 0) return ["stalled", "warn"];
    if (row.pace !== null) return ["throttled", "warn"];
    return [row.state, row.state === "open" ? "" : "warn"];
  }
  if (row.failed) return ["handler failed", "bad"];
  if (row.status !== null && row.status !== 101 && row.status !== 200) return [`refused ${row.status}`, "warn"];
  if (row.closed) return [`${row.closed[0]} by ${row.closed[1]}`, row.closed[0] === 1006 ? "bad" : "off"];
  return ["ended", "off"];
}
