// A WebSocket that writes what travels into the frame log, counts it, and explains failures.
"use strict";

const PREVIEW_BYTES = 2048;
const EXPLANATION_TIMEOUT_MS = 5000;
const encoder = new TextEncoder();

/** The URL of an example handler on the server that this page came from. */
function exampleUrl(name) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host || "localhost:9998"}/${name}`; // no host: opened from disk
}

/** Messages and bytes of all connections of the page. */
class Totals {
  #connections = new Set();
  #counts = { sent: [0, 0], received: [0, 0] };

  constructor() {
    setInterval(() => this.showBuffered(), 100);
  }

  count(direction, bytes) {
    const counts = this.#counts[direction];
    counts[0] += 1;
    counts[1] += bytes;
    document.getElementById(`${direction}-messages`).textContent = counts[0].toLocaleString("en");
    document.getElementById(`${direction}-bytes`).textContent = formatBytes(counts[1]);
  }

  watch(connection) {
    this.#connections.add(connection);
  }

  showBuffered() {
    let bytes = 0;
    for (const connection of this.#connections) bytes += connection.bufferedAmount;
    const text = formatBytes(bytes);
    const shown = document.getElementById("buffered");
    if (shown.textContent !== text) shown.textContent = text;
  }
}

/**
 * One connection at a time, which can be opened again after it has ended.
 *
 * `callbacks` may have opened(), received(data) and closed({ code, reason, opened, explanation }).
 */
class Connection {
  #log;
  #totals;
  #source;
  #callbacks;
  #socket = null;
  #awaited = null;
  #cancelled = false;

  constructor(log, totals, source, callbacks) {
    this.#log = log;
    this.#totals = totals;
    this.#source = source;
    this.#callbacks = callbacks;
    totals.watch(this);
  }

  get isIdle() {
    return this.#socket === null;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  get bufferedAmount() {
    return this.isOpen ? this.#socket.bufferedAmount : 0;
  }

  /** Begin to connect. Throws, with a message for people, what the browser finds wrong at once. */
  open(url, protocols = []) {
    const socket = new WebSocket(url, protocols);
    let opened = false;
    this.#socket = socket;
    this.#cancelled = false;
    socket.binaryType = "arraybuffer";
    this.#note("open", `connecting to ${url}${protocols.length ? `, offering ${protocols.join(", ")}` : ""}`);
    socket.onopen = () => {
      opened = true;
      const chosen = [
        socket.protocol && `subprotocol ${socket.protocol}`,
        socket.extensions && `extensions ${socket.extensions}`,
      ].filter(Boolean);
      this.#note("open", ["connected", ...chosen].join(", "));
      this.#callbacks.opened?.(socket.protocol);
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = async ({ code, reason, wasClean }) => {
      this.#awaited?.(false);
      const explanation = await this.#explainEnd(url, protocols, opened, wasClean);
      this.#socket = null;
      if (opened && wasClean) {
        this.#log.add(this.#source, "received", "close", describeClose(code, reason));
      } else {
        this.#note("error", `${explanation} Close code ${code}.`);
      }
      this.#callbacks.closed?.({ code, reason, opened, explanation });
    };
  }

  /** Send a string, an ArrayBuffer or a file. */
  async send(data) {
    if (typeof data === "string") {
      this.#socket.send(data);
      this.#record("sent", "text", data, encoder.encode(data).length);
      return;
    }
    const isBlob = data instanceof Blob;
    const head = isBlob ? await data.slice(0, PREVIEW_BYTES).arrayBuffer() : data;
    this.#socket.send(data);
    this.#record("sent", "binary", new Uint8Array(head), isBlob ? data.size : data.byteLength);
  }

  /** Begin the closing handshake; `code` may be undefined. Throws like WebSocket.close(). */
  close(code, reason = "") {
    const connected = this.isOpen;
    this.#cancelled = !connected;
    if (code === undefined) {
      this.#socket.close();
    } else {
      this.#socket.close(code, reason);
    }
    if (connected) {
      this.#log.add(this.#source, "sent", "close", describeClose(code ?? 1005, reason));
    }
  }

  /**
   * Send a short text and wait for its echo. Returns the milliseconds this took, or null if the
   * connection ended or nothing came back. Neither message appears in the log.
   */
  async roundTrip(text, timeoutMs) {
    const echoed = new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      this.#awaited = (data) => {
        if (data !== false && data !== text) return false;
        clearTimeout(timer);
        resolve(data !== false);
        return true;
      };
    });
    const start = performance.now();
    this.#socket.send(text);
    this.#totals.count("sent", text.length);
    const came = await echoed;
    this.#awaited = null;
    return came ? performance.now() - start : null;
  }

  #receive(data) {
    if (typeof data === "string") {
      const size = encoder.encode(data).length;
      if (this.#awaited?.(data)) {
        this.#totals.count("received", size);
        return;
      }
      this.#record("received", "text", data, size);
    } else {
      this.#record("received", "binary", new Uint8Array(data), data.byteLength);
    }
    this.#callbacks.received?.(data);
  }

  #record(direction, type, content, size) {
    this.#totals.count(direction, size);
    this.#log.add(this.#source, direction, type, content, size);
  }

  #note(type, text) {
    this.#log.add(this.#source, "event", type, text);
  }

  async #explainEnd(url, protocols, opened, wasClean) {
    if (this.#cancelled) return "Cancelled.";
    if (!opened) return explainRefusal(url, protocols);
    if (!wasClean) return "The connection was lost: it ended without a close frame.";
    return "";
  }
}

function describeClose(code, reason) {
  return `${formatCloseCode(code)}${reason ? ` “${reason}”` : ""}`;
}

/**
 * Say why a connection did not come about.
 *
 * A browser tells a page nothing but 1006, on purpose. What the page can do is to ask the same
 * address by plain HTTP and draw conclusions. The answer's status is only readable if the page
 * comes from that very server; of another one it can be seen at least whether it is there.
 */
async function explainRefusal(url, protocols) {
  const target = new URL(url, location.href);
  target.protocol = target.protocol.replace("ws", "http");
  target.hash = "";
  const sameOrigin = target.origin === location.origin;
  const path = target.pathname;
  let status;
  try {
    const response = await fetch(target, {
      mode: sameOrigin ? "same-origin" : "no-cors",
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(EXPLANATION_TIMEOUT_MS),
    });
    status = response.status;
    response.body?.cancel();
  } catch {
    return `Nobody answers at ${target.host}. Is the server running, and is the port right?`;
  }
  if (status === 404) {
    return `No handler answers at ${path}: the server says 404 Not Found.`;
  }
  if (status >= 200 && status < 400) {
    return `${path} is a page or a file, not a WebSocket handler.`;
  }
  const causes = [`this page's origin (${location.origin})`];
  if (protocols.length) causes.push(`the subprotocols offered (${protocols.join(", ")})`);
  const where = status ? `The handler at ${path}` : `${target.host} is there, but it`;
  return `${where} refused the connection. It may not accept ${causes.join(", or ")}.`
    + " The server's log has the reason.";
}
