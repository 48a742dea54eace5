// The numbers of the whole server.

import { bytes, clock, element, number } from "./format.js";

const get = (id) => document.getElementById(id);
export const CONCURRENCIES = { hub: "the hub", threads: "a thread", loop: "the event loop", mixed: "different places" };
const MINUTES = 5;
const LEAST_SECONDS = 60;
const WORKER_BADGES = { ready: "", away: "bad", "not answering": "bad" };

export class Overview {
  constructor(feed) {
    this.samples = [];
    feed.on("state", (state) => {
      // all samples come again
      if (state === "live") this.samples = [];
    });
    feed.on("samples", ({ worker, samples }) => {
      if (worker !== this.worker) this.samples = [];
      this.worker = worker;
      this.take(samples);
    });
    feed.on("overview", (overview) => this.show(overview));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    new ResizeObserver(() => this.resize()).observe(get("plot-messages"));
  }

  take(samples) {
    this.samples.push(...samples);
    const last = this.samples.at(-1);
    this.samples = this.samples.filter((sample) => sample[0] > last[0] - MINUTES * 60 - 2);
    const columns = [[], [], [], [], []];
    for (let at = 1; at < this.samples.length; at += 1) {
      const [before, now] = [this.samples[at - 1], this.samples[at]];
      const time = Math.max(0.001, now[0] - before[0]);
      columns[0].push(now[0]);
      for (let kind = 1; kind <= 4; kind += 1) columns[kind].push(Math.max(0, (now[kind] - before[kind]) / time));
    }
    this.columns = columns;
    const rates = columns.slice(1).map((column) => column.at(-1) ?? 0);
    get("tile-open").textContent = number(last[5]);
    get("tile-received").textContent = number(rates[0]);
    get("tile-sent").textContent = number(rates[1]);
    get("tile-bytes").textContent = bytes(rates[2] + rates[3]);
    get("plot-messages").setAttribute("aria-label", `Messages per second: ${number(rates[0])} received, ${number(rates[1])} sent`);
    get("plot-bytes").setAttribute("aria-label", `Bytes per second: ${bytes(rates[2])} received, ${bytes(rates[3])} sent`);
    this.plot();
  }

  plot() {
    const [time, ...values] = this.columns ?? [];
    if (!time || get("overview").hidden) return;
    if (!this.plots) {
      this.plots = [
        this.make(get("plot-messages"), (value) => number(value)),
        this.make(get("plot-bytes"), (value) => bytes(value)),
      ];
    }
    this.plots[0].setData([time, values[0], values[1]]);
    this.plots[1].setData([time, values[2], values[3]]);
  }

  make(place, show) {
    // the colour itself, whatever the variable is made of
    const colour = (name) => {
      place.style.color = `var(${name})`;
      const found = getComputedStyle(place).color;
      place.style.color = "";
      return found;
    };
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const line = (label, stroke, dash) => ({ label, stroke, dash, width: 2, value: (_, value) => (value === null ? "–" : show(value)) });
    return new uPlot(
      {
        width: Math.max(200, place.clientWidth),
        height: 180,
        cursor: { drag: { x: false, y: false } },
        scales: { x: { range: (_, first, last) => [Math.min(first, last - LEAST_SECONDS), last] }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.1)] } },
        axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => clock(tick, 0)) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(show) }],
        series: [{ label: "time", value: "{HH}:{mm}:{ss}" }, line("received", colour("--received")), line("sent", colour("--sent"), [6, 4])],
      },
      [[], [], []],
      place,
    );
  }

  redraw() {
    for (const plot of this.plots ?? []) plot.destroy();
    this.plots = null;
    this.plot();
  }

  resize() {
    for (const [plot, id] of [[this.plots?.[0], "plot-messages"], [this.plots?.[1], "plot-bytes"]]) {
      const width = get(id).clientWidth;
      if (plot && width > 0 && Math.abs(plot.width - width) > 1) plot.setSize({ width, height: 180 });
    }
    if (!this.plots) this.plot();
  }

  show(overview) {
    const failures = new Map();
    let failed = 0;
    for (const [{ handler }, count] of overview.errors) {
      failures.set(handler, (failures.get(handler) ?? 0) + count);
      failed += count;
    }
    get("tile-errors").textContent = number(failed);
    get("handlers").replaceChildren(
      ...overview.handlers.map((handler) => {
        const count = failures.get(handler.path) ?? 0;
        return element(
          "tr",
          {},
          element("th", { scope: "row", class: "mono" }, handler.path + (handler.below ? " and below" : "")),
          element("td", {}, CONCURRENCIES[handler.where] ?? handler.where),
          element("td", { class: "quiet" }, handler.why),
          element("td", {}, count ? element("span", { class: "badge bad" }, number(count)) : "0"),
          element("td", { class: "mono quiet" }, handler.file),
        );
      }),
    );
    this.workers(overview.workers);
    get("failed").textContent = overview.failed.join("\n");
    this.bars("latency", latency(overview.latency));
    this.bars("closes", overview.closes.map(([{ code, initiator }, count]) => [`${code} by ${initiator}`, count]));
    // with several workers, each has its own numbers
    const byState = new Map();
    for (const [{ state }, count] of overview.threads) byState.set(state, (byState.get(state) ?? 0) + count);
    const threads = [...byState].map(([state, count]) => `${number(count)} ${state}`).join(", ");
    const { used, limit, dropped } = overview.kept;
    const opening = overview.handshakes.map(([{ result, status }, count]) => `${number(count)} ${result.replace("_", " ")}${status ? ` (${status})` : ""}`);
    facts(get("facts"), {
      Handshakes: opening.join(", ") || "none",
      "Turns in the hub": `${number(overview.slices)}, ${number(overview.stalls)} of them 100 ms or longer`,
      Threads: threads,
      [overview.workers.length && !overview.worker ? "Memory of all processes" : "Memory of the process"]: bytes(overview.memory),
      "Frames kept": `${bytes(used)} of at most ${bytes(limit)}${dropped ? `; ${number(dropped)} dropped` : ""}`,
    });
  }

  workers(rows) {
    get("workers-card").hidden = rows.length === 0;
    const cell = (text) => element("td", { class: "number" }, text);
    get("workers").replaceChildren(
      ...rows.map((row) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, String(row.number)),
          element("td", {}, element("span", { class: `badge ${WORKER_BADGES[row.state] ?? "warn"}` }, row.state)),
          cell(row.pid === null ? "–" : String(row.pid)),
          cell(row.starts === 1 ? "once" : `${number(row.starts)} times`),
          cell(number(row.open)),
          cell(`${number(row.received)} / ${number(row.sent)}`),
          cell(bytes(row.bytes)),
          cell(number(row.failed)),
          cell(bytes(row.memory)),
        ),
      ),
    );
  }

  bars(id, rows) {
    const most = Math.max(1, ...rows.map(([, count]) => count));
    get(`${id}-none`).hidden = rows.length > 0;
    get(id).replaceChildren(
      ...rows.map(([label, count]) => {
        const fill = element("span", { class: "fill" });
        fill.style.width = `${(count / most) * 100}%`;
        return element("tr", {}, element("td", {}, label), element("td", {}, fill, element("span", {}, number(count))));
      }),
    );
  }
}

export function facts(list, values, wrap = false) {
  const pairs = Object.entries(values).map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  list.replaceChildren(...(wrap ? pairs.map((pair) => element("div", {}, ...pair)) : pairs.flat()));
}

function latency(counts) {
  const rows = counts.map((count, power) => [limit(power, counts.length), count]);
  const first = rows.findIndex(([, count]) => count);
  const last = rows.findLastIndex(([, count]) => count);
  return first < 0 ? [] : rows.slice(first, last + 1);
}

function limit(power, buckets) {
  if (power === buckets - 1) return "longer";
  const micro = 2 ** power;
  if (micro < 1000) return `< ${micro} µs`;
  return micro < 1000000 ? `< ${number(micro / 1000)} ms` : `< ${number(micro / 1000000)} s`;
}

