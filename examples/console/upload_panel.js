// The upload of upload_wsh.py: pieces up, progress down, and the hash at the end.
"use strict";

const PIECE_BYTES = 256 * 1024;
const MAX_BUFFERED_BYTES = 4 * PIECE_BYTES;
const DRAIN_CHECK_MS = 5;
const MAX_LOCAL_HASH_BYTES = 256 * 1024 * 1024; // SubtleCrypto wants the whole file in memory

class UploadPanel {
  #connection;
  #file = null;
  #started = 0;
  #finished = false;
  #drop = document.getElementById("upload-drop");
  #input = document.getElementById("upload-file");
  #cancel = document.getElementById("upload-cancel");

  constructor(log, totals) {
    this.#connection = new Connection(log, totals, "upload", {
      opened: () => this.#announce(),
      received: (data) => this.#take(JSON.parse(data)),
      closed: (end) => this.#showEnd(end),
    });
    this.#input.addEventListener("change", () => {
      this.#start(this.#input.files[0]);
      this.#input.value = "";
    });
    this.#cancel.addEventListener("click", () => this.#connection.close(4000, "cancelled"));
    for (const type of ["dragover", "dragleave", "drop"]) {
      this.#drop.addEventListener(type, (event) => {
        event.preventDefault();
        this.#drop.classList.toggle("over", type === "dragover");
        if (type === "drop") this.#start(event.dataTransfer.files[0]);
      });
    }
  }

  #start(file) {
    if (!file || !this.#connection.isIdle) return;
    this.#file = file;
    this.#finished = false;
    showNotice("upload-notice", "");
    for (const id of ["received", "rate", "hash", "verdict"]) this.#fact(id, "–");
    this.#fact("name", file.name);
    this.#progress(0);
    this.#connection.open(exampleUrl("upload"));
    this.#show("pending", "Connecting…");
  }

  #announce() {
    this.#show("open", "Sending");
    this.#connection.send(JSON.stringify({ name: this.#file.name, size: this.#file.size }));
    this.#started = performance.now();
    this.#sendPieces(this.#file).catch((error) => {
      showNotice("upload-notice", `${this.#file.name} cannot be read: ${error.message}`);
      if (this.#connection.isOpen) this.#connection.close(4000, "cancelled");
    });
  }

  /** Send the file no faster than the network takes it, so that it is never whole in memory. */
  async #sendPieces(file) {
    for (let offset = 0; offset < file.size; offset += PIECE_BYTES) {
      const piece = await file.slice(offset, offset + PIECE_BYTES).arrayBuffer();
      while (this.#connection.bufferedAmount > MAX_BUFFERED_BYTES) {
        await new Promise((resolve) => setTimeout(resolve, DRAIN_CHECK_MS));
      }
      if (!this.#connection.isOpen) return;
      this.#connection.send(piece);
    }
  }

  #take({ received, size, sha256 }) {
    const seconds = (performance.now() - this.#started) / 1000;
    this.#progress(size === 0 ? (sha256 ? 1 : 0) : received / size);
    this.#fact("received", `${formatBytes(received)} of ${formatBytes(size)}`);
    if (received) this.#fact("rate", `${formatBytes(received / seconds)}/s`);
    if (!sha256) return;
    this.#finished = true;
    this.#fact("hash", sha256);
    this.#compareHash(this.#file, sha256);
    this.#connection.close(1000);
  }

  async #compareHash(file, sha256) {
    if (!globalThis.crypto?.subtle || file.size > MAX_LOCAL_HASH_BYTES) {
      this.#fact("verdict", "not computed here");
      return;
    }
    this.#fact("verdict", "computing…");
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    const own = formatHex(new Uint8Array(digest)).replaceAll(" ", "");
    this.#fact("verdict", own === sha256 ? "✓ identical" : `✗ different: ${own}`);
  }

  #fact(name, text) {
    document.getElementById(`upload-${name}`).textContent = text;
  }

  #progress(fraction) {
    document.getElementById("upload-progress").value = fraction;
    this.#fact("percent", `${Math.floor(fraction * 100)} %`);
  }

  #show(state, text) {
    showState("upload-state", state, text);
    this.#cancel.disabled = state === "closed";
    this.#input.disabled = state !== "closed";
  }

  #showEnd({ code, reason, explanation }) {
    this.#show("closed", this.#finished ? "Complete" : "Stopped");
    if (explanation || !this.#finished) {
      showNotice("upload-notice", explanation || `Stopped: ${describeClose(code, reason)}`);
    }
  }
}
