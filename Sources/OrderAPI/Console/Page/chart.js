// The delays as a moving chart, in the logarithm of time: 20 ms and 2 min can both be read. Drawn here, as SVG: the page's
// styles colour it in light and dark, and the executable embeds nothing that would have to be fetched to build it.

import { byID, clock, count, duration, setText, svg } from "./page.js";

const HEIGHT = 250;
const MARGIN = { top: 14, right: 112, bottom: 26, left: 52 };
// The shortest span that shows all that is known, and the minutes that are marked.
const SPANS = [[2, [0, 1, 2]], [5, [0, 1, 2, 3, 4, 5]], [10, [0, 2, 4, 6, 8, 10]]];
const MINUTE_MS = 60_000;
const RANGE_MS = [1, 600_000];
const PROMISE_MS = 5_000;
const TICKS = [[1, "1 ms"], [10, "10 ms"], [100, "100 ms"], [1_000, "1 s"], [10_000, "10 s"], [60_000, "1 min"],
    [600_000, "10 min"]];
const LINES = [
    { index: 1, name: "p50", kind: "p50", from: 0 },
    { index: 2, name: "p99", kind: "p99", from: 0 },
    // Something is always on its way; it waits when it has been for a second.
    { index: 3, name: "waiting", kind: "oldest", from: 1_000 },
];
// Labels at the end of lines keep this far from each other.
const LABEL_GAP = 16;

let points = [];

export function addPoints(more) {
    points = more.length > 1 ? more : [...points, ...more];
    const oldest = (points.at(-1)?.[0] ?? 0) - SPANS.at(-1)[0] * MINUTE_MS;
    points = points.filter(([at]) => at >= oldest);
}

const height = (ms) => {
    const [low, high] = RANGE_MS.map(Math.log);
    const share = (Math.log(Math.min(Math.max(ms, RANGE_MS[0]), RANGE_MS[1])) - low) / (high - low);
    return HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom);
};

const valueOf = (point, { index, from }) => ((point[index] ?? -1) >= from ? point[index] : null);

// The line of one number over time; a moment without one is a gap.
function path(line, across) {
    let text = "";
    let isOpen = false;
    for (const point of points) {
        const ms = valueOf(point, line);
        if (ms != null) text += `${isOpen ? "L" : "M"}${across(point[0]).toFixed(1)} ${height(ms).toFixed(1)}`;
        isOpen = ms != null;
    }
    return text;
}

function axes(width, across, end, minutes) {
    const right = width - MARGIN.right;
    const parts = TICKS.flatMap(([ms, name]) => [
        svg("path", { d: `M${MARGIN.left} ${height(ms)}H${right}`, class: "grid" }),
        svg("text", { x: MARGIN.left - 8, y: height(ms) + 4, "text-anchor": "end" }, name),
    ]);
    const marked = width < 560 ? [minutes[0], minutes.at(-1)] : minutes;
    for (const minute of marked) {
        parts.push(svg("text", {
            x: across(end - minute * MINUTE_MS), y: HEIGHT - 6, "text-anchor": minute === 0 ? "end" : "middle",
        }, minute === 0 ? "now" : `−${minute} min`));
    }
    parts.push(
        svg("path", { d: `M${MARGIN.left} ${height(PROMISE_MS)}H${right}`, class: "promise" }),
        svg("text", { x: right + 8, y: height(PROMISE_MS) + 4, class: "promise" }, "5 s promised"));
    return parts;
}

// The names at the ends of the lines, pushed apart where they would touch each other or the promise's.
function labels(width) {
    const last = points.at(-1) ?? [];
    const taken = [height(PROMISE_MS)];
    const shown = LINES.filter((line) => valueOf(last, line) != null)
        .sort((a, b) => last[b.index] - last[a.index]);
    return shown.map(({ index, name, kind }) => {
        let y = height(last[index]);
        for (const other of [...taken].sort((a, b) => a - b)) {
            if (Math.abs(other - y) < LABEL_GAP) y = other + LABEL_GAP;
        }
        taken.push(y);
        return svg("text", { x: width - MARGIN.right + 8, y: y + 4, class: kind },
            `${name} ${duration(last[index] / 1000).split(" ", 2).join(" ")}`);
    });
}

function draw() {
    const host = byID("chart");
    const width = Math.max(host.clientWidth, 280);
    const end = points.at(-1)?.[0] ?? Date.now();
    const known = (end - (points[0]?.[0] ?? end)) / MINUTE_MS;
    const [span, minutes] = SPANS.find(([length]) => known <= length) ?? SPANS.at(-1);
    const perMs = (width - MARGIN.left - MARGIN.right) / (span * MINUTE_MS);
    const across = (at) => width - MARGIN.right - (end - at) * perMs;
    const lines = LINES.map((line) => svg("path", { d: path(line, across), class: `line ${line.kind}` }));
    host.replaceChildren(svg("svg", {
        viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT,
        role: "img", "aria-labelledby": "chart-title chart-text",
    }, ...axes(width, across, end, minutes), ...lines, ...labels(width)));
}

export function showChart({ consumer }) {
    const lag = consumer.value;
    const window = duration(lag?.windowSeconds);
    if (lag == null) {
        const since = consumer.asOf == null ? "" : ` since ${clock(consumer.asOf)}`;
        setText(byID("chart-text"), `No data${since}: the consumer does not answer.`);
    } else if (!lag.samples) {
        setText(byID("chart-text"), `Nothing was delivered in the last ${window}.`);
    } else {
        setText(byID("chart-text"), `In the last ${window}, half of ${count(lag.samples)} events took at most `
            + `${duration(lag.p50Ms / 1000)}, and 99 of 100 at most ${duration(lag.p99Ms / 1000)}.`);
    }
    draw();
}

new ResizeObserver(() => draw()).observe(byID("chart"));
