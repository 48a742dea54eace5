// One connection: its timeline, its heads, and what to keep of it.

import { bytes, clock, closeText, duration, element, flags, hexDump, number, opcode, plural, save } from "./format.js";
import { stateOf } from "./connections.js";
import { CONCURRENCIES, facts } from "./overview.js";
import { ROW_HEIGHT, VirtualTable } from "./virtual_table.js";

const get = (id) => document.getElementById(id);
const MOST = 50000;

export class Connection {
  constructor(feed) {
    this.feed = feed;
    this.id = null;
    this.reset();
    this.table = new VirtualTable(get("frame-scroll"), {
      columns: 7,
      render: (index) => this.cells(this.visible[index]),
      choose: (index) => this.choose(this.visible[index]),
    });
    get("frame-find").addEventListener("input", () => this.filter());
    for (const id of ["frame-direction", "frame-kind"]) get(id).addEventListener("change", () => this.filter());
    get("pause").addEventListener("click", () => this.pause(!this.paused));
    get("show-secrets").addEventListener("click", () => {
      this.secrets = !this.secrets;
      get("show-secrets").setAttribute("aria-pressed", this.secrets);
      this.watch();
    });
    get("export-one").addEventListener("click", () => this.exportHar());
    get("export-test").addEventListener("click", () => this.exportTest());
    get("payload-close").addEventListener("click", () => this.hidePayload());
    get("payload-copy").addEventListener("click", () => navigator.clipboard?.writeText(get("payload-text").textContent));
    for (const button of document.querySelectorAll("[data-as]")) {
      button.addEventListener("click", () => {
        this.as = button.dataset.as;
        this.showPayload();
      });
    }
    feed.on("connection", (connection) => this.show(connection));
    feed.on("frames", (frames) => this.take(frames));
  }

  reset() {
    Object.assign(this, { secrets: false, paused: false, as: "text", payload: null });
    this.records = [];
    this.visible = [];
    this.dropped = 0;
  }

  open(id) {
    if (id !== this.id) {
      this.id = id;
      this.reset();
      this.table.selected = -1;
      this.hidePayload();
      get("show-secrets").setAttribute("aria-pressed", "false");
      this.pause(false, true);
      this.filter();
      get("connection-title").textContent = `#${id}`;
      get("poke-result").textContent = "";
    }
    this.watch();
  }

  watch() {
    const after = this.records.at(-1)?.number ?? 0;
    this.feed.watch({ view: "connection", id: this.id, after, paused: this.paused, secrets: this.secrets });
  }

  pause(paused, quietly = false) {
    this.paused = paused;
    get("pause").setAttribute("aria-pressed", paused);
    get("pause").textContent = paused ? "Go on" : "Pause";
    if (!quietly) this.watch();
  }

  show(connection) {
    if (connection.id !== this.id) return;
    if (connection.gone) {
      get("connection-state").textContent = "not known any more";
      get("connection-state").className = "badge off";
      get("connection-pace").hidden = true;
      this.allow(false);
      return;
    }
    const row = connection;
    const [state, kind] = stateOf(row);
    get("connection-title").textContent = `#${row.id} ${row.resource}`;
    get("connection-state").textContent = state;
    get("connection-state").className = `badge ${kind}`;
    get("connection-pace").hidden = !row.pace;
    get("connection-pace").textContent = row.pace ? `${bytes(row.pace)} per second` : "";
    facts(
      get("connection-facts"),
      {
        Client: `${row.peer}${row.tls ? " (TLS)" : ""}`,
        ...(row.worker ? { Worker: String(row.worker) } : {}),
        Version: row.version,
        "Handler runs in": CONCURRENCIES[row.concurrency],
        Subprotocol: row.subprotocol || "none",
        Extensions: row.extensions || "none",
        Began: clock(row.started, 0) + (row.ended ? `, for ${duration(row.ended - row.started)}` : ""),
        Received: `${plural(row.received[0], "message")}, ${bytes(row.received[1])}`,
        Sent: `${plural(row.sent[0], "message")}, ${bytes(row.sent[1])}`,
        "Waits to be sent": bytes(row.waiting),
        "Closing handshake": row.closed ? `${row.closed[0]}, first by the ${row.closed[1]}` : row.state,
      },
      true,
    );
    const lines = (headers) => headers.map(([name, value]) => `${name}: ${value}`).join("\n");
    get("request-head").textContent = `${row.method} ${row.resource} ${row.version}\n${lines(row.request_headers)}`;
    get("response-head").textContent = row.status ? `${row.version} ${row.status}\n${lines(row.response_headers)}` : "not answered yet";
    get("show-secrets").hidden = !row.hidden && !this.secrets;
    this.allow(row.ended === null);
  }

  allow(isOpen) {
    for (const button of document.querySelectorAll("#poke button")) button.disabled = !isOpen;
  }

  // --- frames ---

  take({ id, records, dropped }) {
    if (id !== this.id) return;
    const last = this.records.at(-1)?.number ?? 0;
    const added = records.filter((record) => record.number > last);
    this.records.push(...added);
    const cut = this.records.length > MOST ? this.records.splice(0, this.records.length - MOST).length : 0;
    this.dropped = dropped;
    const first = this.records[0]?.number ?? dropped + 1;
    get("frame-dropped").hidden = first <= 1;
    get("frame-dropped").textContent = `The first ${plural(first - 1, "line")} ${first === 2 ? "was" : "were"} dropped to save memory.`;
    if (cut) this.filter();
    else {
      this.visible.push(...added.filter((record) => this.wants(record)));
      this.update();
    }
  }

  wants(record) {
    const direction = get("frame-direction").value;
    const kind = get("frame-kind").value;
    const text = get("frame-find").value.toLowerCase();
    const isNote = record.note !== undefined;
    if (direction && (isNote || record.received !== (direction === "in"))) return false;
    const is = isNote ? "note" : record.first & 8 ? "control" : "data";
    if (kind && kind !== is) return false;
    return !text || (record.note ?? record.text ?? record.hex ?? "").toLowerCase().includes(text) || (!isNote && opcode(record.first).includes(text));
  }

  filter() {
    this.visible = this.records.filter((record) => this.wants(record));
    this.table.selected = this.visible.indexOf(this.payload?.record);
    this.update();
  }

  update() {
    get("frame-count").textContent = this.visible.length === this.records.length ? plural(this.records.length, "line") : `${number(this.visible.length)} of ${plural(this.records.length, "line")}`;
    this.table.setCount(this.visible.length);
    if (get("follow").checked && !this.payload) {
      // behind the rows that are about to be drawn
      requestAnimationFrame(() => requestAnimationFrame(() => {
        get("frame-scroll").scrollTop = this.visible.length * ROW_HEIGHT;
      }));
    }
  }

  cells(record) {
    if (!record) return null;
    const key = `${this.id} ${record.number}`;
    const time = () => element("td", { class: "mono" }, clock(record.time));
    if (record.note !== undefined) {
      return {
        key,
        kind: "note",
        cells: () => [time(), element("td"), element("td", {}, "note"), element("td", { colspan: 4, title: record.note }, record.note)],
      };
    }
    const name = record.received ? "received" : "sent";
    const preview = record.opaque ? "(compressed)" : (record.first & 15) === 8 ? closePreview(record) : record.text ?? record.hex ?? "";
    return {
      key,
      kind: record.received ? "in" : "out",
      cells: () => [
        time(),
        element("td", { class: "arrow" }, element("span", { "aria-hidden": "true" }, record.received ? "↓" : "↑"), element("span", { class: "hidden" }, name)),
        element("td", {}, opcode(record.first) + (record.by_hand ? " (by hand)" : "")),
        element("td", { class: "quiet wide-only" }, flags(record)),
        element("td", { class: "number" }, record.opaque ? "?" : number(record.size)),
        element("td", { class: "number quiet wide-only" }, number(record.wire)),
        element("td", { class: "payload-cell" }, preview.slice(0, 300)),
      ],
    };
  }

  // --- one frame ---

  async choose(record) {
    if (!record || record.note !== undefined) return this.hidePayload();
    this.chosen = record;
    let data = null;
    try {
      const found = await this.feed.act("payload", { id: this.id, frame: record.number });
      if (found) data = Uint8Array.from(atob(found.data), (letter) => letter.charCodeAt(0));
    } catch {
      // it is shown as dropped
    }
    // another frame or connection may have been chosen meanwhile
    if (this.chosen !== record) return;
    this.payload = { record, data };
    this.showPayload();
  }

  hidePayload() {
    this.chosen = null;
    this.payload = null;
    get("payload").hidden = true;
  }

  showPayload() {
    if (!this.payload) return;
    const { record, data } = this.payload;
    for (const button of document.querySelectorAll("[data-as]")) button.setAttribute("aria-pressed", button.dataset.as === this.as);
    const kept = data && data.length < record.size ? `, of which the first ${bytes(data.length)} are kept` : "";
    get("payload-title").textContent = `${opcode(record.first)} ${record.received ? "received" : "sent"}, ${plural(record.size, "byte")}${kept}`;
    get("payload").hidden = false;
    get("payload-text").textContent = data ? show(data, this.as, record) : "This frame was dropped to save memory.";
  }

  // --- keeping ---

  async exportHar() {
    await this.keep("har", { secrets: get("one-secrets").checked }, `connection-${this.id}.har`, "application/json");
  }

  async exportTest() {
    await this.keep("test", {}, null, "text/x-python");
  }

  async keep(action, details, name, type) {
    const result = get("poke-result");
    result.className = "";
    try {
      const made = await this.feed.act(action, { id: this.id, ...details });
      save(name ?? made.name, made.text, type);
      result.textContent = `saved ${name ?? made.name}${made.missing.length ? `, but ${made.missing.join("; ")}` : ""}`;
    } catch (error) {
      result.className = "failed";
      result.textContent = `not saved: ${error.message}`;
    }
  }
}

function closePreview(record) {
  if (record.hex) return closeText(Uint8Array.from(record.hex.split(" "), (byte) => parseInt(byte, 16)));
  return closeText(new TextEncoder().encode(record.text ?? ""));
}

function show(data, as, record) {
  if (as === "hex") return hexDump(data) || "(empty)";
  if ((record.first & 15) === 8 && as === "text") return closeText(data);
  const text = new TextDecoder().decode(data);
  if (as === "text") return text || "(empty)";
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch (error) {
    return `This is not JSON: ${error.message}`;
  }
}
