// What is sent to a client by hand, and the faults it is shown.

const get = (id) => document.getElementById(id);

// Frames that no server may send (RFC 6455 5), so that a client's answer to them can be seen.
const PRESETS = [
  ["choose one", ""],
  ["a masked frame", "81 82 00 00 00 00 68 69"],
  ["a reserved opcode", "83 00"],
  ["RSV2 without an extension", "a1 02 68 69"],
  ["RSV1 on a continuation", "01 01 61 c0 01 62"],
  ["text that is not UTF-8", "81 02 c3 28"],
  ["a fragmented ping", "09 01 61"],
  ["a ping of 126 bytes", `89 7e 00 7e${" 61".repeat(126)}`],
  ["a continuation of nothing", "80 01 61"],
  ["a message inside a message", "01 01 61 81 01 62"],
  ["a length in too many bytes", "81 7e 00 02 68 69"],
  ["a length of 2^63", "82 7f 80 00 00 00 00 00 00 00"],
  ["a close frame of one byte", "88 01 03"],
  ["a close frame with 1005", "88 02 03 ed"],
  ["a close reason that is not UTF-8", "88 04 03 e8 c3 28"],
  ["a text behind the close frame", "88 02 03 e8 81 01 61"],
];

export class Poke {
  constructor(feed, connection) {
    this.feed = feed;
    this.connection = connection;
    get("poke-preset").replaceChildren(...PRESETS.map(([title, hex]) => new Option(title, hex)));
    get("poke-preset").addEventListener("change", () => {
      get("poke-raw").value = get("poke-preset").value;
    });
    get("poke").addEventListener("submit", (event) => event.preventDefault());
    get("poke-data").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.act("text");
    });
    for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => this.act(button.dataset.do));
  }

  async act(name) {
    const [action, details] = this.details(name);
    const { id } = this.connection;
    const show = (text, kind) => {
      // another connection may be shown meanwhile
      if (this.connection.id !== id) return;
      get("poke-result").textContent = text;
      get("poke-result").className = kind;
    };
    try {
      show(await this.feed.act(action, { id, ...details }), "");
    } catch (error) {
      show(error.message, "failed");
    }
  }

  details(name) {
    const data = get("poke-data").value;
    switch (name) {
      case "raw": {
        const preset = get("poke-preset");
        const raw = get("poke-raw").value;
        const title = preset.value && preset.value === raw ? preset.selectedOptions[0].text : "raw bytes";
        return ["raw", { data: raw, title }];
      }
      case "close":
        return ["close", { code: Number(get("close-code").value), reason: get("close-reason").value }];
      case "stall":
        return ["pace", { rate: 0 }];
      case "full":
        return ["pace", { rate: null }];
      case "throttle":
        return ["pace", { rate: Number(get("rate").value) }];
      case "drop":
        return ["drop", { count: Number(get("drop-count").value) }];
      default:
        return [name, { data }];
    }
  }
}
