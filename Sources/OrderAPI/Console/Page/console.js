// The console: takes what the server tells each second, and shows it; says so when nothing comes any more.

import { byID, call, clock, count, duration, fill, html, setState, setText, silence } from "./page.js";
import { addPoints, showChart } from "./chart.js";
import { showLetters } from "./letters.js";
import { showPipeline } from "./pipeline.js";
import { showPlatform } from "./platform.js";
import { showNewest } from "./trace.js";

// Without news for so long, in milliseconds, what is shown counts as old.
const PATIENCE_MS = 3_500;
const RECONNECT_MS = 2_000;
const NEWEST_ORDERS_MS = 5_000;

const VERDICTS = {
    ok: "Events reach the data platform as promised.",
    warn: "Events reach the data platform, but look at this:",
    unknown: "Nobody can say how it stands.",
    stall: "Delivery stalls.",
    stop: "Nothing is delivered.",
};

let lastNews = null; // of this machine's clock that only moves on
let lastTime = null; // as the server told it
let serverOffsetMs = 0;

function show({ now, status, snapshot, points }) {
    lastNews = performance.now();
    lastTime = now;
    serverOffsetMs = Date.parse(now) - Date.now();
    showStatus(status);
    showPipeline(snapshot);
    addPoints(points);
    showChart(snapshot);
    showLetters(snapshot);
    showPopular(snapshot.popular);
    showJobs(snapshot);
    showPlatform(snapshot);
    showAge();
}

function showStatus({ word, reasons }) {
    setState(document.body, word);
    setText(byID("word"), word);
    setText(byID("verdict"), VERDICTS[word]);
    fill(byID("reasons"), reasons, () => reasons.map((reason) => html("li", {}, reason)));
    document.title = `${word} · Jumun console`;
}

function showPopular(popular) {
    const list = popular.value;
    if (list == null) {
        setText(byID("popular-text"), `They cannot be asked for: ${silence(popular)}.`);
        fill(byID("popular"), [], () => []);
        return;
    }
    const source = list.source === "redis" ? "" : ", from PostgreSQL since Redis has none";
    const age = list.stale ? "Old: as" : "As";
    setText(byID("popular-text"), `${age} of ${clock(list.asOf)}, the last three days${source}.`);
    const most = list.data[0]?.quantity ?? 1;
    fill(byID("popular"), list.data, () => list.data.length === 0
        ? [html("tr", {}, html("td", { colspan: "4", class: "note" }, "Nothing was sold yet."))]
        : list.data.map((entry) => product(entry, most)));
}

function product({ rank, moved, isNew, name, quantity }, most) {
    const [text, label, state] = isNew ? ["new", "new", "ok"]
        : moved == null ? ["", "not known", "idle"]
        : moved > 0 ? [`▲ ${moved}`, `up ${moved}`, "ok"]
        : moved < 0 ? [`▼ ${-moved}`, `down ${-moved}`, "bad"]
        : ["=", "unchanged", "idle"];
    return html("tr", {},
        html("td", { class: "rank" }, `${rank}`),
        html("td", { class: "moved", "data-state": state },
            html("span", { "aria-hidden": "true" }, text), html("span", { class: "hidden" }, label)),
        html("td", { class: "name", title: name }, name),
        html("td", { class: "number" }, count(quantity),
            html("progress", { max: `${most}`, value: `${quantity}`, "aria-hidden": "true" })));
}

const RESULTS = { ok: "ok", running: "idle", queued: "idle", skipped: "warn", missed: "warn", replaced: "warn" };

function showJobs({ jobs, scheduler }) {
    const problems = [];
    if (jobs.value == null) problems.push(`Last runs: ${silence(jobs)}.`);
    if (scheduler.value == null) problems.push(`Next runs: ${silence(scheduler)}; the scheduler does not answer.`);
    setText(byID("jobs-text"), problems.join(" ") || "As the scheduler runs them.");
    const now = Date.now() + serverOffsetMs;
    const rows = (jobs.value ?? []).map(({ name, last }) => {
        const next = scheduler.value?.[name];
        return {
            name,
            result: last == null ? "" : last.result.replace("_", " "),
            state: last == null ? "idle" : RESULTS[last.result] ?? "bad",
            last: last == null ? "never" : `${duration((now - Date.parse(last.scheduledFor)) / 1000)} ago`,
            detail: last?.detail ?? "",
            next: next == null ? "–" : Date.parse(next) <= now ? "now"
                : `in ${duration((Date.parse(next) - now) / 1000)}`,
        };
    });
    fill(byID("jobs"), rows, () => rows.map(({ name, result, state, last, detail, next }) => html("tr", {},
        html("th", { scope: "row" }, name),
        html("td", { title: detail || null }, last, result === "" ? null
            : html("span", { class: "badge", "data-state": state }, result)),
        html("td", {}, next))));
}

// MARK: how old it is

function showAge() {
    if (lastNews == null) return;
    const isOld = performance.now() - lastNews > PATIENCE_MS;
    document.body.classList.toggle("is-old", isOld);
    setText(byID("live"), isOld ? "not live" : `live · ${clock(lastTime)}`);
    setText(byID("old"), isOld ? `No news from order-api since ${clock(lastTime)}. What you see below is old.` : "");
    byID("old").hidden = !isOld;
    if (isOld) document.title = "old · Jumun console";
}

function listen() {
    const events = new EventSource("/console/api/events");
    events.onmessage = ({ data }) => show(JSON.parse(data));
    events.onerror = () => {
        // A browser comes again by itself after a lost connection, but not after a refusal.
        if (events.readyState !== EventSource.CLOSED) return;
        setTimeout(async () => {
            await call("/snapshot").catch(() => null); // leads to the page for signing in, when that is why
            listen();
        }, RECONNECT_MS);
    };
}

listen();
showNewest();
setInterval(showAge, 500);
setInterval(showNewest, NEWEST_ORDERS_MS);
