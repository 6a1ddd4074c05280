// What became of one order's events, as a timeline.

import { byID, call, clock, duration, fill, html, plain, setText } from "./page.js";

let followed = null;
let timer;

// Shows an order, and follows it for as long as something of it is under way.
export async function trace(id) {
    followed = id;
    byID("trace-id").value = id;
    clearTimeout(timer);
    await look(id);
    byID("trace").scrollIntoView({ block: "nearest" });
}

async function look(id) {
    let isDone = false;
    try {
        const { data } = await call(`/orders/${encodeURIComponent(id)}/trace`);
        if (followed !== id) return;
        fill(byID("trace"), data, () => data.map(event));
        isDone = data.every(({ status }) => status === "DELIVERED");
    } catch (refusal) {
        if (followed !== id) return;
        const text = refusal.status === 404 ? `There is no order ${id}.`
            : `It cannot be shown now: ${refusal.message}.`;
        fill(byID("trace"), text, () => [html("p", { class: "problem" }, text)]);
        isDone = refusal.status === 404;
    }
    if (!isDone) timer = setTimeout(() => look(id), 2_000);
}

const WORDS = {
    PENDING: ["in the outbox", "warn"],
    CONFIRMED: ["in RabbitMQ", "warn"],
    RETRYING: ["on its way again", "warn"],
    DELIVERED: ["delivered", "ok"],
    DEAD_LETTERED: ["dead letter", "bad"],
};

function event(trail) {
    const [word, state] = WORDS[trail.status] ?? [trail.status, "gone"];
    const start = Date.parse(trail.occurredAt);
    return html("article", { class: "trail" },
        html("h3", {}, trail.type, html("span", { class: "badge", "data-state": state }, word)),
        html("p", { class: "note" }, `event ${trail.eventId ?? "id not known any more"}`),
        html("ol", { class: "timeline" }, ...steps(trail).map(({ at, title, text, state }) =>
            html("li", { "data-state": state },
                html("span", { class: "when" }, at == null ? "" : `+${duration((Date.parse(at) - start) / 1000)}`),
                html("span", { class: "what" }, html("strong", {}, title), text === "" ? "" : ` ${text}`)))));
}

function steps(trail) {
    const first = [{ at: trail.occurredAt, title: "committed", text: `at ${clock(trail.occurredAt)}`, state: "ok" }];
    if (trail.status !== "PENDING") {
        first.push({ at: trail.confirmedAt, title: "confirmed", text: "by RabbitMQ", state: "ok" });
    }
    const later = [
        ...trail.attempts.map(attempt),
        ...trail.redrives.map(({ at, redriveId }) => ({
            at, title: "sent again", text: `by redrive ${redriveId}`, state: "warn",
        })),
    ];
    return [...first, ...later.sort((a, b) => Date.parse(a.at) - Date.parse(b.at))];
}

function attempt({ at, attempt, outcome, status, error, retryAfterMs }) {
    const answer = status == null ? "no answer" : `status ${status}`;
    const reason = error == null ? "" : `: ${plain(error)}`;
    const again = retryAfterMs == null ? "" : `; again in ${duration(retryAfterMs / 1000)}`;
    switch (outcome) {
        case "DELIVERED": return { at, title: "delivered", text: `attempt ${attempt}, ${answer}`, state: "ok" };
        case "DEAD_LETTERED":
            return { at, title: "given up", text: `attempt ${attempt}, ${answer}${reason}`, state: "bad" };
        case "POSTPONED": return { at, title: "postponed", text: answer + reason + again, state: "warn" };
        default: return { at, title: `attempt ${attempt}`, text: answer + reason + again, state: "warn" };
    }
}

// The newest orders, to begin with one of them.
export async function showNewest() {
    try {
        const orders = await call("/orders");
        fill(byID("newest"), orders, () => orders.length === 0 ? [] : [
            html("span", { class: "note" }, "Newest"),
            ...orders.map(({ orderId, createdAt }) => html("button", {
                type: "button", class: "quiet", "aria-label": `Trace order ${orderId}`, onclick: () => trace(orderId),
            }, `…${orderId.slice(-8)}`, html("small", {}, clock(createdAt)))),
        ]);
    } catch {
        // The status says that PostgreSQL is away.
    }
}

byID("trace-form").addEventListener("submit", (submit) => {
    submit.preventDefault();
    setText(byID("trace"), "");
    byID("trace").shows = undefined;
    trace(byID("trace-id").value.trim());
});
