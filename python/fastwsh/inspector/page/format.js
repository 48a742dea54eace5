// Numbers, times and bytes for people, and elements with text in them: nothing here is ever HTML.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(count) : count.toFixed(count < 10 ? 1 : 0)} ${units[unit]}`;
}

export function number(value) {
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

export function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

export function clock(seconds, digits = 3) {
  const moment = new Date(seconds * 1000);
  const two = (part) => String(part).padStart(2, "0");
  const time = `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
  return digits ? `${time}.${String(moment.getMilliseconds()).padStart(3, "0")}` : time;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

const OPCODES = { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" };

export function opcode(first) {
  return OPCODES[first & 15] ?? `reserved ${first & 15}`;
}

export function flags(record) {
  const found = [];
  if (record.first & 128) found.push("FIN");
  for (const [bit, name] of [[64, "RSV1"], [32, "RSV2"], [16, "RSV3"]]) if (record.first & bit) found.push(name);
  if (record.masked) found.push("MASK");
  if (!record.minimal) found.push("LONG");
  return found.join(" ");
}

export function hexDump(data) {
  const lines = [];
  for (let at = 0; at < data.length; at += 16) {
    const row = [...data.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}

export function closeText(data) {
  if (data.length === 0) return "(no code)";
  if (data.length === 1) return "(one byte, which is no code)";
  const reason = new TextDecoder().decode(data.subarray(2));
  return `${data[0] * 256 + data[1]}${reason ? ` ${reason}` : ""}`;
}

export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = element("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
