// The console proper: any URL, text, files, close codes, latency.
"use strict";

const PROBES = 20;
const PROBE_TIMEOUT_MS = 3000;
const MAX_REASON_BYTES = 123; // RFC 6455 5.5: 125 less the two of the code

const HANDLERS = [
  ["echo", "Sends every message back, and takes any subprotocol.", "Hello"],
  ["close", "Send a code and a reason, and it closes the connection with them.", "4001 see you"],
  ["chat", "The first message is your name, every further one goes to the room.", "ann"],
  ["clock", "Pushes the time every second.", ""],
  ["origin_check", "Lets in only pages of its own host name. Write 127.0.0.1 in place of localhost, or the other way round, to be refused.", "Hello"],
  ["cookie", "Counts your visits with a cookie that it sets in the handshake.", ""],
  ["upload", "Announce a file, then send that many bytes. The Upload tab does it for you.", '{"name": "a.txt", "size": 5}'],
];

class ConsolePanel {
  #connection;
  #log;
  #history = [];
  #url = document.getElementById("url");
  #protocols = document.getElementById("protocols");
  #connect = document.getElementById("connect");
  #message = document.getElementById("message");
  #suggestion = "";
  #file = document.getElementById("file");
  #measure = document.getElementById("measure");

  constructor(log, totals) {
    this.#log = log;
    this.#connection = new Connection(log, totals, "console", {
      opened: (protocol) => this.#show("open", protocol ? `Connected · ${protocol}` : "Connected"),
      closed: (end) => this.#showEnd(end),
    });
    this.#listHandlers();
    this.#on("connect-form", "submit", () => this.#toggle());
    this.#on("send-form", "submit", () => this.#sendText());
    this.#on("choose-file", "click", () => this.#file.click());
    this.#on("file", "change", () => this.#sendFile());
    this.#on("measure", "click", () => this.#measureLatency());
    this.#message.addEventListener("keydown", (event) => this.#pressKey(event));
    this.#url.addEventListener("input", () => this.#showHandler());
  }

  #on(id, type, action) {
    document.getElementById(id).addEventListener(type, (event) => {
      event.preventDefault();
      action();
    });
  }

  #listHandlers() {
    for (const [name] of HANDLERS) {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.textContent = name;
      chip.addEventListener("click", () => {
        this.#url.value = exampleUrl(name);
        this.#showHandler();
        showNotice("notice", "");
      });
      document.getElementById("handlers").append(chip);
      document.getElementById("urls").append(new Option(exampleUrl(name)));
    }
    this.#url.value = exampleUrl("echo");
    this.#showHandler();
  }

  /** Mark the chip of the handler that the URL names, and say what it does. */
  #showHandler() {
    const known = HANDLERS.find(([name]) => this.#url.value.split("?")[0] === exampleUrl(name));
    for (const chip of document.getElementById("handlers").children) {
      chip.setAttribute("aria-pressed", String(chip.textContent === known?.[0]));
    }
    document.getElementById("hint").textContent = known?.[1] ?? "Any ws: or wss: URL.";
    if (this.#message.value === this.#suggestion) {
      this.#suggestion = known?.[2] ?? "";
      this.#message.value = this.#suggestion;
    }
  }

  #toggle() {
    showNotice("notice", "");
    if (this.#connection.isIdle) {
      this.#open();
    } else {
      this.#close();
    }
  }

  #open() {
    const protocols = this.#protocols.value.split(",").map((name) => name.trim()).filter(Boolean);
    try {
      this.#connection.open(this.#url.value.trim(), protocols);
    } catch (error) {
      showNotice("notice", error.message);
      return;
    }
    this.#show("pending", "Connecting…");
  }

  #close() {
    const codeText = document.getElementById("close-code").value.trim();
    const reason = document.getElementById("close-reason").value;
    const code = codeText === "" ? undefined : Number(codeText);
    const problem = findCloseProblem(code, reason);
    if (problem) {
      document.querySelector("details.more").open = true;
      showNotice("notice", problem);
      return;
    }
    this.#connection.close(code, reason);
    this.#show("pending", "Closing…");
  }

  /** Draw what depends on the connection's state. */
  #show(state, text) {
    const open = state === "open";
    showState("state", state, text);
    this.#connect.textContent = state === "closed" ? "Connect" : open ? "Disconnect" : "Cancel";
    this.#connect.classList.toggle("danger", state !== "closed");
    this.#url.disabled = state !== "closed";
    this.#protocols.disabled = state !== "closed";
    for (const chip of document.getElementById("handlers").children) {
      chip.disabled = state !== "closed";
    }
    for (const id of ["send", "choose-file", "measure"]) {
      document.getElementById(id).disabled = !open;
    }
    if (open) {
      this.#message.focus();
      this.#message.select(); // so that typing replaces the suggestion
    }
  }

  #showEnd({ code, reason, opened, explanation }) {
    this.#show("closed", opened ? `Closed · ${describeClose(code, reason)}` : "Not connected");
    showNotice("notice", explanation);
  }

  #sendText() {
    if (!this.#connection.isOpen) return;
    const text = this.#message.value;
    this.#connection.send(text);
    this.#history.push(text);
    this.#message.value = this.#suggestion = "";
    this.#message.focus();
  }

  async #sendFile() {
    const [file] = this.#file.files;
    this.#file.value = ""; // so that choosing the same file again is a change again
    if (!file || !this.#connection.isOpen) return;
    try {
      await this.#connection.send(file);
    } catch (error) {
      showNotice("notice", `${file.name} cannot be sent: ${error.message}`);
    }
  }

  #pressKey(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#sendText();
    } else if (event.key === "ArrowUp" && this.#message.value === "" && this.#history.length) {
      event.preventDefault();
      this.#message.value = this.#history.at(-1);
    }
  }

  async #measureLatency() {
    this.#measure.disabled = true;
    const shown = document.getElementById("latency");
    const token = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
    const times = [];
    for (let number = 1; number <= PROBES && this.#connection.isOpen; number += 1) {
      const time = await this.#connection.roundTrip(`probe ${token} ${number}`, PROBE_TIMEOUT_MS);
      if (time === null) break;
      times.push(time);
    }
    this.#measure.disabled = !this.#connection.isOpen;
    if (times.length < PROBES) {
      shown.textContent = "no echo";
      this.#log.add("console", "event", "error", "latency: this handler does not send back what it gets");
      return;
    }
    times.sort((a, b) => a - b);
    const median = formatMilliseconds((times[PROBES / 2 - 1] + times[PROBES / 2]) / 2);
    shown.textContent = median;
    this.#log.add("console", "event", "latency",
      `${median} round trip, median of ${PROBES} (${formatMilliseconds(times[0])} to ${formatMilliseconds(times.at(-1))})`);
  }
}

/** What is wrong with a code and a reason for WebSocket.close(), in words, or "". */
function findCloseProblem(code, reason) {
  if (code === undefined) return reason ? "A reason needs a code." : "";
  if (code !== 1000 && !(Number.isInteger(code) && code >= 3000 && code <= 4999)) {
    return "A page may close with 1000 and with 3000 to 4999.";
  }
  if (encoder.encode(reason).length > MAX_REASON_BYTES) {
    return `The reason is longer than ${MAX_REASON_BYTES} bytes.`;
  }
  return "";
}
