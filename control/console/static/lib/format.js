// Numbers with their units, money and times, as people read them.

const NOTHING = "–";

function number(value, digits) {
  return value.toLocaleString(undefined, { minimumFractionDigits: 0, maximumFractionDigits: digits });
}

/** 1234.5 → "1,235"; small ones keep their digits. */
export function count(value) {
  if (value === null || value === undefined) return NOTHING;
  const size = Math.abs(value);
  return number(value, size >= 100 || Number.isInteger(value) ? 0 : size >= 1 ? 1 : 3);
}

/** 1234567 → "1.2M": for the axis of a chart. Not by the viewer's locale: in some, millions are "m". */
export function compact(value) {
  return value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
}

export function units(value) {
  return value === null || value === undefined ? NOTHING : `${count(value)} RU`;
}

export function rate(value) {
  return value === null || value === undefined ? NOTHING : `${count(value)} RU/s`;
}

export function percent(value) {
  return value === null || value === undefined ? NOTHING : `${number(value, value < 10 ? 1 : 0)} %`;
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
  if (value === null || value === undefined) return NOTHING;
  let size = value;
  let step = 0;
  while (size >= 1024 && step < SIZES.length - 1) {
    size /= 1024;
    step += 1;
  }
  return `${number(size, size >= 100 || step === 0 ? 0 : 1)} ${SIZES[step]}`;
}

/** Millionths of the currency; what is less than a cent is not hidden. */
export function money(micros, currency) {
  if (micros === null || micros === undefined) return NOTHING;
  const amount = micros / 1e6;
  const digits = amount !== 0 && Math.abs(amount) < 1 ? 4 : 2;
  return amount.toLocaleString(undefined, { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function cents(value, currency) {
  return money(value === null || value === undefined ? null : value * 10_000, currency);
}

const STEPS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

/** 5400 → "1 hour 30 minutes". */
export function duration(seconds) {
  const words = [];
  let rest = Math.round(seconds);
  for (const [word, size] of STEPS) {
    const whole = Math.floor(rest / size);
    if (whole) words.push(`${whole} ${word}${whole === 1 ? "" : "s"}`);
    rest -= whole * size;
  }
  return words.slice(0, 2).join(" ") || "0 seconds";
}

export function clock(date) {
  return date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** The hour and minute; the second where it is not the whole minute. */
export function minute(date) {
  const hasSeconds = date.getSeconds() !== 0;
  return date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(hasSeconds ? { second: "2-digit" } : {}) });
}

export function dateTime(date) {
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** A calendar day as the gateway names it, which is no moment and in no zone. */
export function day(text) {
  return new Date(`${text}T00:00:00Z`).toLocaleDateString(undefined, { timeZone: "UTC", day: "numeric", month: "short" });
}

/** "2026-03" → "March 2026". */
export function month(text) {
  return new Date(`${text}-01T00:00:00Z`).toLocaleDateString(undefined, { timeZone: "UTC", month: "long", year: "numeric" });
}

/** In UTC, to the second. */
export function utc(date) {
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
