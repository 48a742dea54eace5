// The views of the page, and which one is shown.

import { Connection } from "./connection.js";
import { Connections } from "./connections.js";
import { Feed } from "./feed.js";
import { clock, element, number } from "./format.js";
import { Overview } from "./overview.js";
import { Poke } from "./poke.js";

const get = (id) => document.getElementById(id);
const LOG_LINES = 500;
const STATES = {
  live: "live",
  gone: "the server has gone; trying again",
  foreign: "another server is here now: open the URL that its log names",
};

// the token is of no use any more, and nobody should copy it
if (location.search) history.replaceState(null, "", location.pathname + location.hash);

const feed = new Feed();
const overview = new Overview(feed);
const connections = new Connections(feed, { open: (id) => (location.hash = `#connection/${id}`) });
const connection = new Connection(feed);
new Poke(feed, connection);

function show() {
  const [name, id] = location.hash.slice(1).split("/");
  const view = ["overview", "connections", "connection", "log"].includes(name) ? name : "overview";
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = link.dataset.view === (view === "connection" ? "connections" : view);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view === "connection" ? `#${id}` : view} – fastwsh inspector`;
  if (view === "connections") connections.watch();
  else if (view === "connection") connection.open(Number(id));
  else feed.watch({ view });
  if (view === "overview") overview.resize();
}

window.addEventListener("hashchange", () => {
  show();
  get("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});

document.querySelector(".skip").addEventListener("click", (event) => {
  // the address says which view is shown
  event.preventDefault();
  get("main").focus();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !get("connection").hidden) {
    if (!get("payload").hidden) connection.hidePayload();
    else location.hash = "#connections";
  } else if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    const find = get("connection").hidden ? (get("connections").hidden ? null : get("find")) : get("frame-find");
    if (find) {
      event.preventDefault();
      find.focus();
    }
  }
});

feed.on("state", (state) => {
  get("feed-state").dataset.state = state;
  get("feed-state").textContent = STATES[state];
  if (state !== "live") return;
  // all lines come again
  get("log-lines").replaceChildren();
  show();
});

feed.on("samples", ({ workers, open }) => {
  get("open-count").textContent = number(open);
  const select = get("worker");
  if (workers.length === select.options.length - 1) return;
  get("worker-choice").hidden = workers.length === 0;
  select.replaceChildren(new Option("all", 0), ...workers.map((worker) => new Option(worker, worker)));
});

get("worker").addEventListener("change", () => {
  feed.worker = Number(get("worker").value);
  show();
});

feed.on("log", ({ lines }) => {
  for (const line of lines) {
    const text = line.connection === null ? line.text : element("a", { href: `#connection/${line.connection}` }, line.text);
    get("log-lines").prepend(
      element("li", {}, element("time", { class: "mono" }, clock(line.time)), element("span", { class: line.level }, line.level), element("pre", {}, text)),
    );
  }
  while (get("log-lines").children.length > LOG_LINES) get("log-lines").lastChild.remove();
  get("log-none").hidden = get("log-lines").children.length > 0;
  get("log-count").textContent = number(get("log-lines").children.length);
});

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  get("theme").textContent = `Theme: ${theme}`;
  localStorage.setItem("fastwsh-inspector-theme", theme);
  overview.redraw();
}

get("theme").addEventListener("click", () => {
  const now = localStorage.getItem("fastwsh-inspector-theme");
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});

setTheme(THEMES.includes(localStorage.getItem("fastwsh-inspector-theme")) ? localStorage.getItem("fastwsh-inspector-theme") : "system");
show();
feed.open();
