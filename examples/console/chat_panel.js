// The chat room of chat_wsh.py.
"use strict";

const MAX_CHAT_LINES = 500;

class ChatPanel {
  #connection;
  #name = document.getElementById("chat-name");
  #enter = document.getElementById("chat-enter");
  #text = document.getElementById("chat-text");
  #members = document.getElementById("chat-members");
  #lines = document.getElementById("chat-lines");

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
        this.#connection.open(exampleUrl("chat"));
        this.#show("pending", "Joining…");
      } else {
        this.#connection.close(1000);
      }
    });
    document.getElementById("chat-say").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#connection.isOpen || !this.#text.value) return;
      this.#connection.send(this.#text.value);
      this.#text.value = "";
    });
  }

  #take({ event, name, text, members }) {
    if (event === "message") {
      this.#addLine("said", name, text);
      return;
    }
    this.#members.replaceChildren(...members.map((member) => makeCell("member", member, "li")));
    this.#addLine("moved", name, event === "join" ? "joined" : "left");
    if (event === "join" && name === this.#name.value.trim()) {
      this.#show("open", "Inside");
      this.#text.focus();
    }
  }

  #addLine(kind, name, text) {
    const line = document.createElement("li");
    line.className = kind;
    line.classList.toggle("own", name === this.#name.value.trim());
    line.append(makeCell("who", name, "strong"), " ", makeCell("what", text));
    this.#lines.append(line);
    while (this.#lines.childElementCount > MAX_CHAT_LINES) this.#lines.firstElementChild.remove();
    this.#lines.scrollTop = this.#lines.scrollHeight;
  }

  #show(state, text) {
    showState("chat-state", state, text);
    this.#enter.textContent = state === "closed" ? "Join" : "Leave";
    this.#enter.classList.toggle("danger", state !== "closed");
    this.#name.disabled = state !== "closed";
    this.#text.disabled = state !== "open";
    document.getElementById("chat-send").disabled = state !== "open";
  }

  #showEnd({ code, reason, opened, explanation }) {
    this.#members.replaceChildren();
    this.#show("closed", "Outside");
    showNotice("chat-notice", explanation || (code === 1000 ? "" : describeClose(code, reason)));
    if (opened) this.#name.focus();
  }
}
