// The pushed time of clock_wsh.py.
"use strict";

class ClockPanel {
  #connection;
  #ticks = 0;
  #toggle = document.getElementById("clock-toggle");

  constructor(log, totals) {
    this.#connection = new Connection(log, totals, "clock", {
      opened: () => this.#show("open", "Running"),
      received: (data) => this.#tick(data),
      closed: ({ explanation }) => {
        this.#show("closed", "Stopped");
        showNotice("clock-notice", explanation);
      },
    });
    this.#toggle.addEventListener("click", () => {
      showNotice("clock-notice", "");
      if (this.#connection.isIdle) {
        this.#ticks = 0;
        this.#connection.open(exampleUrl("clock"));
        this.#show("pending", "Connecting…");
      } else {
        this.#connection.close(1000);
      }
    });
  }

  #tick(text) {
    const time = new Date(text);
    const ahead = time - Date.now();
    this.#ticks += 1;
    const shown = document.getElementById("clock-time");
    shown.dateTime = text;
    shown.textContent = time.toLocaleTimeString([], { hour12: false });
    document.getElementById("clock-date").textContent =
      time.toLocaleDateString([], { dateStyle: "long" });
    document.getElementById("clock-ticks").textContent = this.#ticks;
    document.getElementById("clock-ahead").textContent = `${ahead} ms`;
  }

  #show(state, text) {
    showState("clock-state", state, text);
    this.#toggle.textContent = state === "closed" ? "Start" : "Stop";
    this.#toggle.classList.toggle("danger", state !== "closed");
  }
}
