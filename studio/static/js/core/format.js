// Numbers, times and dates as text.

import { S } from "../strings.js";

const number = new Intl.NumberFormat("en");
const dateTime = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const timeOfDay = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** 3671.2 → "1:01:11"; 4.6 → "0:04". */
export function clock(secs) {
  const whole = Math.max(0, Math.floor(secs ?? 0));
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const padded = String(seconds).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${padded}` : `${minutes}:${padded}`;
}

/** A length of time in words: "4.2 s", "1 min 17 s", "3 h 25 min". */
export function duration(secs) {
  if (secs === null || secs === undefined) return "–";
  if (secs < 59.5) return `${secs.toFixed(secs > 0 && secs < 9.95 ? 1 : 0)} s`;
  if (secs < 3599.5) return parts(Math.round(secs), "min", "s");
  return parts(Math.round(secs / 60), "h", "min");
}

/** A number of small units as great and small ones, of which sixty make a great one. */
function parts(smalls, great, small) {
  const rest = smalls % 60;
  return `${number.format((smalls - rest) / 60)} ${great}${rest ? ` ${rest} ${small}` : ""}`;
}

/** A short length of time: "0.42 s". */
export const exactSecs = (secs) => `${secs.toFixed(2)} s`;
export const count = (value) => number.format(value ?? 0);
export const money = (value) => (value === null || value === undefined ? "–" : `$${value.toFixed(value && value < 0.1 ? 4 : 2)}`);
export const moment = (iso) => dateTime.format(new Date(iso));
export const hour = (iso) => timeOfDay.format(new Date(iso));
export const dayName = (iso) => date.format(new Date(iso));
export const shortDay = (iso) => day.format(new Date(iso));
export const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
export const millis = (value) => (value === null || value === undefined ? "–" : `${number.format(Math.round(value))}\u00a0ms`);

const LANGUAGES = new Intl.DisplayNames(["en"], { type: "language" });

/** "en-gb" → "British English". */
export function languageName(tag) {
  try {
    return LANGUAGES.of(tag);
  } catch {
    return tag;
  }
}

/** A text that is not broken at its blanks. */
export const unbroken = (text) => text.replaceAll(" ", "\u00a0");

/** "maeve.h736bab09a" → "Maeve"; a cloned voice has no name in the history. */
export function voiceName(id) {
  if (/^u-[0-9a-f]/.test(id)) return S.ownVoice;
  const name = id.split(".")[0];
  return name.charAt(0).toUpperCase() + name.slice(1);
}
