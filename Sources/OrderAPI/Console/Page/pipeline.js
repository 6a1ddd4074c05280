// The pipeline as a picture: what it shows is worked out as values first, and then put into the picture.

import { byID, count, duration, fill, html, rate, setState, setText, silence, svg } from "./page.js";

const TITLES = {
    api: "order-api",
    outbox: "Outbox",
    queue: "Queue",
    consumer: "Consumer",
    platform: "Data platform",
    letters: "Dead letters",
};

// Where everything is, in the picture's own units: beside each other where there is room, below each other elsewhere.
const WIDE = {
    box: [0, 18, 1120, 258],
    nodes: {
        api: [0, 20, 132, 84],
        outbox: [247, 20, 132, 84],
        queue: [494, 20, 132, 84],
        consumer: [741, 20, 132, 84],
        platform: [988, 20, 132, 84],
        letters: [776, 190, 132, 84],
    },
    text: { title: [14, 25], value: [14, 53], note: [14, 72], anchor: "start" },
    retry: [290, 190, 398, 84],
    edges: {
        commit: "M132 62H239",
        relay: "M379 62H486",
        take: "M626 62H733",
        forward: "M873 62H980",
        retried: "M775 104V147H650V182",
        returned: "M560 190V112",
        given: "M842 104V182",
    },
    labels: {
        commit: [[189, 52], [189, 82]],
        relay: [[436, 52], [436, 82]],
        take: [[683, 52], [683, 82]],
        forward: [[930, 52], [930, 82]],
    },
    labelAnchor: "middle",
};

const TALL = {
    box: [0, 0, 360, 728],
    nodes: {
        api: [0, 2, 236, 62],
        outbox: [0, 110, 236, 62],
        queue: [0, 218, 236, 62],
        consumer: [0, 326, 236, 62],
        platform: [0, 434, 236, 62],
        letters: [0, 536, 236, 62],
    },
    text: { title: [14, 26], value: [222, 39], note: [14, 46], anchor: "end" },
    retry: [0, 634, 360, 92],
    edges: {
        commit: "M36 64V102",
        relay: "M36 172V210",
        take: "M36 280V318",
        forward: "M36 388V426",
        retried: "M236 347H300V626",
        returned: "M338 634V249H244",
        given: "M236 367H268V567H244",
    },
    labels: {
        commit: [[52, 80], [52, 97]],
        relay: [[52, 188], [52, 205]],
        take: [[52, 296], [52, 313]],
        forward: [[52, 404], [52, 421]],
    },
    labelAnchor: "start",
};

const NARROW = matchMedia("(max-width: 1000px)");

// What stands where, as texts and states: "idle", "ok", "warn", "bad", or "gone" where nobody knows.
export function pipeline({ orders, outbox, queues, consumer, platform }) {
    const gone = (reading) => ({ value: "–", note: silence(reading), state: "gone" });
    const lag = consumer.value;
    const refused = orders.refusedPerSecond + orders.failedPerSecond;
    const isOpen = lag?.circuit === "open";
    const nodes = {
        api: {
            value: rate(orders.acceptedPerSecond),
            unit: "/s",
            note: refused > 0 ? `${rate(refused)} /s refused` : "orders accepted",
            state: orders.failedPerSecond > 0 ? "bad" : "ok",
        },
        outbox: outbox.value == null ? gone(outbox) : {
            value: count(outbox.value.pending),
            unit: "waiting",
            note: outbox.value.parked > 0 ? `${count(outbox.value.parked)} parked` : "in PostgreSQL",
            state: outbox.value.oldestSeconds > 5 ? "bad" : outbox.value.parked > 0 ? "warn" : "ok",
        },
        queue: queues.value == null ? gone(queues) : {
            value: count(queues.value.ready),
            unit: "ready",
            note: "in RabbitMQ",
            state: isOpen && queues.value.ready > 0 ? "warn" : "ok",
        },
        consumer: lag == null ? gone(consumer) : {
            value: count(lag.unacked),
            unit: "unacked",
            note: `circuit ${lag.circuit.replace("_", " ")}`,
            state: isOpen ? "bad" : lag.circuit === "closed" ? "ok" : "warn",
        },
        platform: lag == null ? gone(consumer) : {
            value: isOpen ? "fails" : lag.circuit === "closed" ? "answers" : "is probed",
            note: platform?.value ? `mock: ${platform.value.mode}` : platform ? "mock: not known" : "",
            state: isOpen ? "bad" : lag.circuit === "closed" ? "ok" : "warn",
        },
        letters: queues.value == null ? gone(queues) : {
            value: count(queues.value.deadLetters),
            unit: "",
            note: queues.value.deadLetters == null ? "not counted"
                : queues.value.deadLetters > 0 ? "waiting for you" : "nothing to do",
            state: queues.value.deadLetters == null ? "warn" : queues.value.deadLetters > 0 ? "bad" : "ok",
        },
    };
    const edges = {
        commit: [`${rate(orders.acceptedPerSecond)} orders/s`,
            orders.batchSize == null ? "no batch now" : `batch of ${rate(orders.batchSize)}`],
        relay: outbox.value == null ? ["–", "no data"] : [
            outbox.value.pending > 0 ? duration(outbox.value.oldestSeconds) : "0 ms", "oldest"],
        take: lag == null ? ["–", "no data"] : [`${rate(lag.perSecond)} /s`, "delivered"],
        forward: lag == null ? ["–", "no data"] : lag.p99Ms == null ? ["–", "none lately"] : [
            `p50 ${duration(lag.p50Ms / 1000)}`, `p99 ${duration(lag.p99Ms / 1000)}`],
    };
    const flows = {
        commit: orders.acceptedPerSecond > 0,
        relay: orders.acceptedPerSecond > 0 && outbox.value != null,
        take: lag?.perSecond > 0,
        forward: lag?.perSecond > 0,
        retried: queues.value?.retrying > 0,
        returned: queues.value?.retrying > 0,
        given: false,
    };
    const retry = queues.value == null
        ? { total: "–", tiers: [], state: "gone", note: silence(queues) }
        : {
            total: count(queues.value.retrying),
            tiers: queues.value.retryTiers,
            state: queues.value.retrying > 0 ? "warn" : "ok",
            note: "",
        };
    return { nodes, edges, flows, retry };
}

const TIER_NAMES = (ms) => (ms < 60_000 ? `${ms / 1000} s` : `${ms / 60_000} min`);

// The picture with its texts, which are kept and changed.
class Picture {
    constructor(layout, host) {
        this.layout = layout;
        this.nodes = {};
        this.edges = {};
        this.labels = {};
        this.tiers = [];
        this.root = svg("svg", { viewBox: layout.box.join(" "), role: "img", "aria-labelledby": "pipeline-title" },
            svg("defs", {}, svg("marker", {
                id: "head", viewBox: "0 0 10 10", refX: 2, refY: 5, markerWidth: 9, markerHeight: 9,
                markerUnits: "userSpaceOnUse", orient: "auto",
            }, svg("path", { d: "M0 0L10 5L0 10z", class: "head" }))));
        for (const name of Object.keys(layout.edges)) this.addEdge(name);
        for (const name of Object.keys(layout.nodes)) this.addNode(name);
        this.addRetry();
        host.replaceChildren(this.root);
    }

    addNode(name) {
        const [x, y, width, height] = this.layout.nodes[name];
        const { title, value, note, anchor } = this.layout.text;
        const text = (kind, [dx, dy], content, end) => svg("text", {
            x: x + dx, y: y + dy, class: kind, "text-anchor": end ? anchor : "start",
        }, content);
        const parts = {
            value: svg("tspan", { class: name === "platform" ? "word" : "count" }, "…"),
            unit: svg("tspan", { class: "unit", dx: 6 }, ""),
            note: text("note", note, ""),
        };
        parts.group = svg("g", { class: "node", "data-state": "gone" },
            svg("rect", { x, y, width, height, rx: 12 }),
            svg("rect", { x: x + 0.75, y: y + 14, width: 4, height: height - 28, rx: 2, class: "edge" }),
            text("title", title, TITLES[name]), text("value", value, "", true), parts.note);
        parts.group.querySelector(".value").replaceChildren(parts.value, parts.unit);
        this.nodes[name] = parts;
        this.root.append(parts.group);
    }

    addEdge(name) {
        const path = this.layout.edges[name];
        const flow = svg("path", { d: path, class: "flow" });
        this.edges[name] = svg("g", { class: "arrow" },
            svg("path", { d: path, class: "line", "marker-end": "url(#head)" }), flow);
        this.root.append(this.edges[name]);
        this.labels[name] = (this.layout.labels[name] ?? []).map(([x, y], index) => {
            const label = svg("text", {
                x, y, class: index === 0 ? "label strong" : "label", "text-anchor": this.layout.labelAnchor,
            }, "");
            this.root.append(label);
            return label;
        });
    }

    addRetry() {
        const [x, y, width, height] = this.layout.retry;
        const cell = (width - 16) / 9;
        this.total = svg("text", {
            x: x + width - 14, y: y + 25, class: "value small count", "text-anchor": "end",
        }, "…");
        this.retryNote = svg("text", { x: x + 112, y: y + 25, class: "note" }, "");
        this.retry = svg("g", { class: "node", "data-state": "gone" },
            svg("rect", { x, y, width, height, rx: 12 }),
            svg("rect", { x: x + 0.75, y: y + 14, width: 4, height: height - 28, rx: 2, class: "edge" }),
            svg("text", { x: x + 14, y: y + 25, class: "title" }, "Retry tiers"), this.retryNote, this.total);
        for (let index = 0; index < 9; index += 1) {
            const left = x + 8 + index * cell;
            const parts = {
                number: svg("text", { x: left + cell / 2, y: y + 53, class: "tier", "text-anchor": "middle" }, ""),
                name: svg("text", {
                    x: left + cell / 2, y: y + 70, class: "note tier-name", "text-anchor": "middle",
                }, ""),
            };
            parts.group = svg("g", { "data-state": "idle" },
                svg("rect", { x: left + 2, y: y + 36, width: cell - 4, height: 40, rx: 6, class: "cell" }),
                parts.number, parts.name);
            this.tiers.push(parts);
            this.retry.append(parts.group);
        }
        this.root.append(this.retry);
    }

    show({ nodes, edges, flows, retry }) {
        for (const [name, { value, unit, note, state }] of Object.entries(nodes)) {
            const parts = this.nodes[name];
            setText(parts.value, value);
            setText(parts.unit, unit ?? "");
            setText(parts.note, note);
            setState(parts.group, state);
        }
        for (const [name, texts] of Object.entries(edges)) {
            texts.forEach((text, index) => setText(this.labels[name][index], text));
        }
        for (const [name, isFlowing] of Object.entries(flows)) {
            setState(this.edges[name], isFlowing ? "flowing" : "idle");
        }
        setText(this.total, retry.total);
        setText(this.retryNote, retry.note);
        setState(this.retry, retry.state);
        this.tiers.forEach((parts, index) => {
            const tier = retry.tiers[index];
            setText(parts.number, tier ? count(tier.messages) : "–");
            setText(parts.name, tier ? TIER_NAMES(tier.tierMs) : "");
            setState(parts.group, tier?.messages > 0 ? "warn" : "idle");
        });
    }
}

let picture;
let latest;

export function showPipeline(snapshot) {
    latest = pipeline(snapshot);
    picture ??= new Picture(NARROW.matches ? TALL : WIDE, byID("pipeline"));
    picture.show(latest);
    const rows = [
        ...Object.entries(latest.nodes).map(([name, { value, unit, note }]) =>
            [TITLES[name], [value, unit, note].filter(Boolean).join(" ")]),
        ["Orders committed", latest.edges.commit.join(", ")],
        ["Oldest in the outbox", latest.edges.relay[0]],
        ["Delivered", latest.edges.take[0]],
        ["Commit to platform", latest.edges.forward.join(", ")],
        ...latest.retry.tiers.map((tier) => [`Retry tier of ${TIER_NAMES(tier.tierMs)}`, count(tier.messages)]),
    ];
    fill(byID("pipeline-table"), rows, () =>
        rows.map(([name, value]) => html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, value))));
}

NARROW.addEventListener("change", () => {
    if (latest === undefined) return;
    picture = new Picture(NARROW.matches ? TALL : WIDE, byID("pipeline"));
    picture.show(latest);
});
