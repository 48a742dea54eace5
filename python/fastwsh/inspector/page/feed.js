// The WebSocket to the server: what this page watches, and what comes.

export class Feed {
  constructor() {
    this.listeners = new Map();
    this.waiting = new Map();
    this.requests = 0;
    this.worker = 0;
    this.pause = 500;
  }

  on(type, listen) {
    this.listeners.set(type, [...(this.listeners.get(type) ?? []), listen]);
  }

  tell(type, value) {
    for (const listen of this.listeners.get(type) ?? []) listen(value);
  }

  open() {
    this.socket = new WebSocket(`ws://${location.host}/feed`);
    this.socket.onopen = () => {
      this.pause = 500;
      this.tell("state", "live");
    };
    this.socket.onmessage = (event) => {
      const value = JSON.parse(event.data);
      if (value.type === "reply") this.settle(value);
      else this.tell(value.type, value);
    };
    this.socket.onclose = async () => {
      this.tell("state", "gone");
      for (const number of [...this.waiting.keys()]) this.settle({ request: number, error: "the server has gone" });
      if (await isForeign()) this.tell("state", "foreign");
      setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(this.pause * 2, 10000);
    };
  }

  settle(reply) {
    const [resolve, reject] = this.waiting.get(reply.request) ?? [];
    this.waiting.delete(reply.request);
    if (reply.error) reject?.(new Error(reply.error));
    else resolve?.(reply.result);
  }

  send(value) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(value));
  }

  // Says what this page shows. After a break it must be said again.
  watch(what) {
    this.send({ type: "watch", worker: this.worker, ...what });
  }

  act(action, details = {}) {
    if (this.socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Error("the server has gone"));
    this.requests += 1;
    const request = this.requests;
    return new Promise((resolve, reject) => {
      this.waiting.set(request, [resolve, reject]);
      this.send({ type: "do", request, action, ...details });
    });
  }
}

// Whether another server is at this address now, which does not know this browser.
async function isForeign() {
  try {
    return (await fetch("icon.svg", { method: "HEAD", cache: "no-store" })).status === 403;
  } catch {
    return false;
  }
}
