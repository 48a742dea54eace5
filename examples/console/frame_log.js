// The list of frames. Text from a peer reaches the page through textContent only, never as markup.
"use strict";

const MAX_ENTRIES = 1000;
const MAX_PREVIEW_CHARACTERS = 300;
const MAX_PREVIEW_BYTES = 32;
// What an entry keeps for being unfolded. A page that is sent a gigabyte must not keep it all.
const MAX_KEPT_CHARACTERS = 20000;
const MAX_KEPT_BYTES = 2048;
const ARROWS = { sent: "↑", received: "↓", event: "•" };

class FrameLog {
  #scroller = document.getElementById("log");
  #list = document.getElementById("entries");
  #empty = document.getElementById("empty");
  #autoscroll = document.getElementById("autoscroll");
  #pausedByScrolling = false;
  #lastTop = 0;
  #pending = [];

  constructor() {
    document.getElementById("clear").addEventListener("click", () => this.clear());
    this.#scroller.addEventListener("scroll", () => this.#followScrolling());
    this.#autoscroll.addEventListener("change", () => {
      this.#pausedByScrolling = false;
      this.#scrollToEnd();
    });
  }

  /**
   * Add an entry. `direction` is "sent", "received" or "event"; `content` a string, or the
   * beginning of a binary message as a Uint8Array; `size` is in bytes, null for none.
   */
  add(source, direction, type, content, size = null) {
    if (this.#pending.length === 0) {
      // All that arrives within one tick is drawn in one go. (A timer, and not an animation
      // frame: those stand still in a tab in the background.)
      setTimeout(() => this.#draw(), 0);
    }
    const kept = typeof content === "string"
      ? content.slice(0, MAX_KEPT_CHARACTERS)
      : content.slice(0, MAX_KEPT_BYTES);
    this.#pending.push({ time: new Date(), source, direction, type, kept, full: content.length, size });
    if (this.#pending.length > MAX_ENTRIES) this.#pending.shift();
  }

  clear() {
    this.#pending = [];
    this.#list.replaceChildren();
    this.#empty.hidden = false;
  }

  #draw() {
    if (this.#pending.length === 0) return;
    this.#list.append(...this.#pending.map(makeEntry));
    this.#pending = [];
    while (this.#list.childElementCount > MAX_ENTRIES) this.#list.firstElementChild.remove();
    this.#empty.hidden = true;
    this.#scrollToEnd();
  }

  #scrollToEnd() {
    if (this.#autoscroll.checked) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** Who scrolls back wants to read: pause, until they are at the end again. */
  #followScrolling() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const atEnd = scrollTop + clientHeight >= scrollHeight - 4;
    if (this.#pausedByScrolling && atEnd) {
      this.#pausedByScrolling = false;
      this.#autoscroll.checked = true;
    } else if (this.#autoscroll.checked && !atEnd && scrollTop < this.#lastTop) {
      this.#pausedByScrolling = true;
      this.#autoscroll.checked = false;
    }
    this.#lastTop = scrollTop;
  }
}

function makeEntry(entry) {
  const item = document.createElement("li");
  item.className = `entry ${entry.direction} ${entry.type}`;
  Object.assign(item.dataset, {
    source: entry.source, direction: entry.direction, type: entry.type,
  });
  const cells = [
    makeCell("time", formatTime(entry.time)),
    makeCell("arrow", ARROWS[entry.direction]),
    makeCell("source", entry.source),
    makeCell("type", entry.type),
    makeCell("size", entry.size === null ? "" : formatBytes(entry.size)),
    makeCell("preview", makePreview(entry)),
  ];
  cells[1].title = entry.direction;
  cells[1].setAttribute("role", "img");
  cells[1].setAttribute("aria-label", entry.direction);

  if (!entry.size) {
    const row = document.createElement("div");
    row.className = "row";
    row.append(...cells);
    item.append(row);
    return item;
  }
  // A message can be unfolded. Its full content is only made when somebody asks for it.
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.className = "row";
  summary.append(...cells);
  details.append(summary);
  details.addEventListener("toggle", () => {
    const content = makeCell("content", makeContent(entry), "pre");
    content.tabIndex = 0; // so that the arrow keys can scroll it
    details.append(content);
  }, { once: true });
  item.append(details);
  return item;
}

function makeCell(name, text, tag = "span") {
  const cell = document.createElement(tag);
  cell.className = name;
  cell.textContent = text;
  return cell;
}

function makePreview({ kept, full, size, type }) {
  if (typeof kept === "string") {
    return kept.slice(0, MAX_PREVIEW_CHARACTERS) + (full > MAX_PREVIEW_CHARACTERS ? "…" : "");
  }
  const shown = kept.subarray(0, MAX_PREVIEW_BYTES);
  return formatHex(shown) + (type === "binary" && size > shown.length ? " …" : "");
}

function makeContent({ kept, full, size }) {
  if (typeof kept === "string") {
    return full > kept.length
      ? `${kept}\n… ${full - kept.length} more characters are not kept`
      : kept;
  }
  const rest = size - kept.length;
  return formatHexDump(kept) + (rest > 0 ? `\n… ${rest} more bytes are not kept` : "");
}
