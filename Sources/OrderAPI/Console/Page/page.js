// What every part of the page needs: elements, words for numbers and times, and calls of the server.

const SVG = "http://www.w3.org/2000/svg";

export const byID = (id) => document.getElementById(id);

function make(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (value == null || value === false) continue;
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child != null));
    return element;
}

// An element of the page: html("p", { class: "note" }, "text").
export const html = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children);

// An element of a picture.
export const svg = (tag, attributes = {}, ...children) =>
    make(document.createElementNS(SVG, tag), attributes, children);

// Changes a text only when it is another: what has not changed is not drawn, and not read out.
export function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

export function setState(element, state) {
    if (element.dataset.state !== state) element.dataset.state = state;
}

// Fills an element anew, unless `key` says that what it shows is the same: a focus within it stays where it is.
export function fill(element, key, make) {
    const text = JSON.stringify(key);
    if (element.shows === text) return;
    element.shows = text;
    element.replaceChildren(...make());
}

const GROUPS = new Intl.NumberFormat("en-US");
const ONE_DIGIT = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (number) => (number == null ? "–" : GROUPS.format(number));

// A rate: 0, 0.4, 12.3, 1,234.
export function rate(number) {
    if (number == null) return "–";
    return number === 0 || number >= 100 ? GROUPS.format(Math.round(number)) : ONE_DIGIT.format(number);
}

// 850 ms, 12.4 s, 3 min 20 s, 2 h 5 min, 4 d 3 h.
export function duration(seconds) {
    if (seconds == null) return "–";
    const whole = Math.floor(Math.max(0, seconds));
    const parts = (unit, name, smaller, smallerName) => {
        const rest = Math.floor((whole % unit) / smaller);
        return `${Math.floor(whole / unit)} ${name}` + (rest > 0 ? ` ${rest} ${smallerName}` : "");
    };
    if (seconds < 1) return `${Math.round(Math.max(0, seconds) * 1000)} ms`;
    if (seconds < 10) return `${ONE_DIGIT.format(seconds)} s`;
    if (seconds < 60) return `${whole} s`;
    if (seconds < 3600) return parts(60, "min", 1, "s");
    if (seconds < 86400) return parts(3600, "h", 60, "min");
    return parts(86400, "d", 3600, "h");
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

// The time of day, with the day when it is another.
export function clock(time) {
    const date = new Date(time);
    const isToday = date.toDateString() === new Date().toDateString();
    return isToday ? CLOCK.format(date) : `${DAY.format(date)}, ${CLOCK.format(date)}`;
}

// What a source says instead of its numbers while it cannot be asked.
export const silence = (reading) =>
    reading.asOf == null ? "no data yet" : `no data since ${clock(reading.asOf)}`;

// What a failed attempt's error says to a person: the detail of a problem in JSON, when there is one in it.
export function plain(error) {
    const start = error.indexOf("{");
    if (start < 0) return error;
    try {
        const { detail, title } = JSON.parse(error.slice(start));
        return detail ?? title ?? error;
    } catch {
        return error; // cut, since it is long, or no JSON
    }
}

// What the server leaves out of its answers counts as null: everywhere here `== null` is meant to find both.

// The server refused; the message is made to be shown.
export class Refusal extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

// Calls the server; what it answers, or a Refusal.
export async function call(path, { method = "GET", body } = {}) {
    const headers = { "Jumun-Console": "1" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
        response = await fetch(`/console/api${path}`, {
            method,
            headers,
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: AbortSignal.timeout(30_000),
        });
    } catch {
        throw new Refusal(0, "order-api does not answer");
    }
    const answer = await response.json().catch(() => {
        if (response.ok) throw new Refusal(0, "order-api's answer did not arrive whole");
        return {};
    });
    if (response.status === 401) location.assign("/console/sign-in");
    if (!response.ok) throw new Refusal(response.status, answer.detail ?? answer.title ?? `status ${response.status}`);
    return answer;
}
