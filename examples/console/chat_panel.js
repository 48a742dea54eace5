// The chat rooms of chat_wsh.py. Members tell each other who is there and what was said: no server
// keeps it, so they may be at different ones.
"use strict";

const MAX_CHAT_LINES = 500;
const MAX_HISTORY_LINES = 50;
const MAX_HISTORY_CHARACTERS = 60_000;
// As many of those who answer a newcomer are asked what was said.
const MAX_ASKED = 3;

class ChatPanel {
  // Who has died without a word does not say that it is here. Browsers let the timers of a tab that
  // nobody looks at run once in a minute.
  static hereMs = 30_000;
  static goneMs = 150_000;

  #connection;
  #name = document.getElementById("chat-name");
  #room = document.getElementById("chat-room");
  #enter = document.getElementById("chat-enter");
  #text = document.getElementById("chat-text");
  #memberList = document.getElementById("chat-members");
  #lineList = document.getElementById("chat-lines");
  #id = "";
  #members = new Map(); // id -> name, and when it was heard of
  #said = new Map(); // the last lines, by sender and number
  #saidIn = ""; // the room of these lines
  #asked = 0;
  #timer = 0;

  constructor(log, totals) {
    this.#connection = new Connection(log, totals, "chat", {
      opened: () => this.#connection.send(this.#name.value.trim()),
      received: (data) => this.#take(JSON.parse(data)),
      closed: (end) => this.#showEnd(end),
    });
    document.getElementById("chat-join").addEventListener("submit", (event) => {
      event.preventDefault();
      showNotice("chat-notice", "");
      if (this.#connection.isIdle) {
        const room = this.#room.value.trim();
        this.#connection.open(`${exampleUrl("chat")}?room=${encodeURIComponent(room)}`);
        this.#show("pending", "Joining…");
      } else {
        this.#connection.close(1000);
      }
    });
    document.getElementById("chat-say").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#connection.isOpen || !this.#text.value) return;
      this.#send({ event: "line", text: this.#text.value });
      this.#text.value = "";
    });
  }

  #send(event) {
    if (this.#connection.isOpen) this.#connection.send(JSON.stringify(event));
  }

  #take(event) {
    const { id, name, at } = event;
    switch (event.event) {
      case "welcome":
        this.#begin(event);
        return;
      case "join":
        this.#hear(id, name);
        this.#addLine("moved", event, "joined");
        if (id !== this.#id) this.#send({ event: "here", to: id });
        return;
      case "here":
        this.#hear(id, name);
        if (id !== this.#id && this.#asked < MAX_ASKED) {
          this.#asked += 1;
          this.#send({ event: "ask", to: id });
        }
        return;
      case "leave":
        this.#addLine("moved", event, "left");
        this.#forget(id);
        return;
      case "line":
        this.#hear(id, name);
        this.#remember(event);
        return;
      case "ask":
        this.#send({ event: "history", to: id, lines: this.#history() });
        return;
      case "history":
        for (const line of event.lines) this.#remember(line, "before");
    }
  }

  #begin({ id, room }) {
    if (room !== this.#saidIn) {
      this.#said.clear();
      this.#lineList.replaceChildren();
    }
    this.#saidIn = room;
    this.#id = id;
    this.#asked = 0;
    clearTimeout(this.#timer);
    this.#beat();
    this.#show("open", "Inside");
    this.#text.focus();
  }

  /** Tell the others now and then, and look who has not done so. */
  #beat() {
    this.#timer = setTimeout(() => {
      this.#send({ event: "here" });
      const oldest = Date.now() - ChatPanel.goneMs;
      for (const [id, { name, heard }] of this.#members) {
        if (id === this.#id || heard > oldest) continue;
        this.#addLine("moved", { id, name, at: Date.now() }, "is gone");
        this.#forget(id);
      }
      this.#beat();
    }, ChatPanel.hereMs);
  }

  #hear(id, name) {
    const isNew = !this.#members.has(id);
    this.#members.set(id, { name, heard: Date.now() });
    if (isNew) this.#showMembers();
  }

  #forget(id) {
    this.#members.delete(id);
    this.#showMembers();
  }

  #showMembers() {
    const labels = [...this.#members].map(([id, { name }]) => this.#label(id, name)).sort();
    this.#memberList.replaceChildren(...labels.map((label) => makeCell("member", label, "li")));
  }

  /** The name, and the beginning of the id if somebody else has the same name. */
  #label(id, name) {
    const others = [...this.#members].filter(([other, member]) => other !== id && member.name === name);
    return others.length ? `${name} #${id.slice(0, 4)}` : name;
  }

  /** Show a line, unless it is known, and keep it for those who come later. */
  #remember(line, kind = "") {
    const key = `${line.id}/${line.number}`;
    if (this.#said.has(key)) return;
    this.#said.set(key, line);
    if (kind) this.#said = new Map([...this.#said].sort(([, a], [, b]) => a.at - b.at));
    while (this.#said.size > MAX_HISTORY_LINES) this.#said.delete(this.#said.keys().next().value);
    if (this.#said.has(key)) this.#addLine(`said ${kind}`, line, line.text);
  }

  #history() {
    const lines = [...this.#said.values()];
    while (JSON.stringify(lines).length > MAX_HISTORY_CHARACTERS) lines.shift();
    return lines;
  }

  #addLine(kind, { id, name, at }, text) {
    const line = document.createElement("li");
    line.className = kind.trim();
    line.classList.toggle("own", id === this.#id);
    line.dataset.at = at;
    line.title = new Date(at).toLocaleString();
    line.append(makeCell("who", this.#label(id, name), "strong"), " ", makeCell("what", text));
    // what was said before has its place among what is shown; all else comes last
    const later = kind.endsWith("before")
      ? [...this.#lineList.children].find((other) => Number(other.dataset.at) > at)
      : undefined;
    this.#lineList.insertBefore(line, later ?? null);
    while (this.#lineList.childElementCount > MAX_CHAT_LINES) this.#lineList.firstElementChild.remove();
    const scroller = this.#lineList.parentElement;
    scroller.scrollTop = scroller.scrollHeight;
  }

  #show(state, text) {
    showState("chat-state", state, text);
    this.#enter.textContent = state === "closed" ? "Join" : "Leave";
    this.#enter.classList.toggle("danger", state !== "closed");
    this.#name.disabled = state !== "closed";
    this.#room.disabled = state !== "closed";
    this.#text.disabled = state !== "open";
    document.getElementById("chat-send").disabled = state !== "open";
  }

  #showEnd({ code, reason, opened, explanation }) {
    clearTimeout(this.#timer);
    this.#members.clear();
    this.#showMembers();
    this.#show("closed", "Outside");
    showNotice("chat-notice", explanation || (code === 1000 ? "" : describeClose(code, reason)));
    if (opened) this.#name.focus();
  }
}
