// Dead letters by cause, and sending them again: what would be sent is asked first, and shown before it is done.

import { byID, call, clock, count, fill, html, plain, setText, silence } from "./page.js";
import { trace } from "./trace.js";

// As many letters as were counted when they were last looked at.
let lookedDepth = null;
let askedAt = 0;
let isLooking = false;
// Which of the looks, and which opening of the dialog, is the latest: an answer to an earlier one is not shown.
let looks = 0;
let openings = 0;
// A look is good for so long, in milliseconds, also when the number of letters has stayed the same.
const LOOK_MS = 15_000;
const PAUSE_MS = 2_000;
// What was done last; it stands before what there is now for a moment.
let news = "";
const NEWS_MS = 10_000;
// Redrives of which nobody knows what became, by their group: said again as they were they send nothing twice.
const unsure = new Map();

// The groups are asked for when the number has changed or the look is old, one look after another and at most one in two
// seconds: each goes through the queue. Nobody sees a hidden page.
export function showLetters({ queues }) {
    const reason = whyUncounted(queues);
    if (reason !== null) {
        hide(reason);
        return;
    }
    if (isLooking || document.hidden) return;
    const depth = queues.value.deadLetters;
    if (performance.now() - askedAt < (depth === lookedDepth ? LOOK_MS : PAUSE_MS)) return;
    lookedDepth = depth;
    askedAt = performance.now();
    if (depth === 0) show({ asOf: queues.asOf, total: 0, looked: 0, data: [] });
    else look();
}

function whyUncounted(queues) {
    if (queues.value == null) return `RabbitMQ cannot be asked: ${silence(queues)}.`;
    if (!queues.value.hasDeadLetterQueue) return "RabbitMQ has no queue for them.";
    return queues.value.deadLetters == null ? "Somebody goes through them; until then nobody can count them." : null;
}

async function look() {
    const mine = ++looks;
    isLooking = true;
    try {
        const groups = await call("/dead-letters");
        if (mine === looks) show(groups);
    } catch (refusal) {
        if (mine === looks) hide(`They cannot be listed now: ${refusal.message}.`);
    } finally {
        isLooking = false;
    }
}

// Says why there is no list, in the place of one that may not be true any more.
function hide(reason) {
    looks += 1;
    lookedDepth = null;
    setText(byID("letters-text"), reason);
    setText(byID("letters-time"), "");
    fill(byID("letters"), null, () => []);
}

function show(groups) {
    const { asOf, total, looked, data } = groups;
    const causes = data.length === 1 ? "one cause" : `${count(data.length)} causes`;
    const now = total === 0
        ? "None. An event that the platform refuses, or that has failed ten times, waits here for you."
        : looked < total
            ? `The oldest ${count(looked)} of ${count(total)}, of ${causes}.`
            : `${count(total)} of ${causes}.`;
    setText(byID("letters-text"), [news, now].filter(Boolean).join(" "));
    setText(byID("letters-time"), `As of ${clock(asOf)}.`);
    fill(byID("letters"), data, () => data.map(group));
}

function group({ group, sample }) {
    const times = group.oldestFailedAt === group.newestFailedAt
        ? [clock(group.oldestFailedAt)]
        : [`${clock(group.oldestFailedAt)} to ${clock(group.newestFailedAt)}`];
    const letters = group.messages === 1 ? "1 event" : `${count(group.messages)} events`;
    const answer = group.status == null ? "no answer" : `status ${group.status}`;
    return html("article", { class: "letter", "data-group": group.group },
        html("h3", {}, html("span", { class: "badge" }, letters), group.group),
        html("p", { class: "why" }, group.error ? plain(group.error) : "No reason was given."),
        html("p", { class: "note" }, [answer, ...times].join(" · ")),
        html("p", { class: "buttons" },
            html("button", { type: "button", onclick: () => redrive(group) }, "Send again…"),
            sample.orderId == null ? null : html("button", {
                type: "button", class: "quiet", onclick: () => trace(sample.orderId),
            }, "Trace the first")),
        html("details", {},
            html("summary", {}, `The first: ${sample.type || "no event"} ${sample.eventId}`),
            html("pre", { tabindex: "0" }, pretty(sample.message))));
}

function pretty(message) {
    try {
        return JSON.stringify(JSON.parse(message), null, 2);
    } catch {
        return `${message}…`; // cut, since it is long
    }
}

async function redrive(group) {
    const mine = ++openings;
    const dialog = byID("redrive");
    const go = byID("redrive-go");
    dialog.onclose = null;
    go.disabled = true;
    setText(byID("redrive-title"), `Send again: ${group.group}`);
    setText(go, "Send");
    setText(byID("redrive-problem"), "");
    setText(byID("redrive-text"), "Looking at what would be sent.");
    dialog.returnValue = "";
    dialog.showModal();
    const isCurrent = () => mine === openings && dialog.open;
    try {
        const plan = await call("/redrives", { method: "POST", body: { group: group.group, dryRun: true } });
        if (!isCurrent()) return;
        setText(byID("redrive-text"), planned(plan));
        setText(byID("redrive-problem"), plan.problem == null ? "" : `${plan.problem}.`);
        go.disabled = plan.wouldSend === 0 && plan.alreadyDelivered === 0;
        setText(go, plan.wouldSend === 0 ? "Remove" : `Send ${count(plan.wouldSend)} again`);
        dialog.onclose = () => {
            if (dialog.returnValue === "go") send(group, plan);
        };
        if (!go.disabled) go.focus();
    } catch (refusal) {
        if (isCurrent()) setText(byID("redrive-problem"), `${refusal.message}.`);
    }
}

function planned({ wouldSend, alreadyDelivered, unreadable }) {
    const parts = [`Dry run: ${count(wouldSend)} would go to the consumer once more.`];
    if (alreadyDelivered > 0) parts.push(`${count(alreadyDelivered)} are at the platform already and only removed.`);
    if (unreadable > 0) parts.push(`${count(unreadable)} stay, since they cannot be read as events.`);
    return parts.join(" ");
}

// Sends at most as many as the dry run has looked at.
async function send(group, plan) {
    setText(byID("letters-text"), "Sending.");
    const earlier = unsure.get(group.group);
    const order = earlier ?? {
        group: group.group,
        dryRun: false,
        expected: plan.selected,
        redriveId: plan.redriveId,
    };
    try {
        const done = await call("/redrives", { method: "POST", body: order });
        unsure.delete(group.group);
        tell(outcome(done, earlier !== undefined));
    } catch (refusal) {
        const isRefused = refusal.status >= 400 && refusal.status < 500;
        if (!isRefused) unsure.set(group.group, order);
        tell(isRefused ? `Nothing was sent: ${refusal.message}.` : `It is not known how many were sent: `
            + `${refusal.message}. Send them again: what has been sent already is not sent twice.`);
    }
}

function outcome({ sent, alreadySent, cameBack, problem }, isRepeated) {
    const parts = [sent === 0 && isRepeated
        ? "The try before had sent what it was to send; what is here now can be sent again."
        : `Sent ${count(sent)} again.`];
    if (alreadySent > 0) parts.push(`${count(alreadySent)} had been sent already, and were only removed.`);
    if (cameBack > 0) parts.push(`${count(cameBack)} had been sent already, and failed again.`);
    if (problem != null) parts.push(`It ended there: ${problem}.`);
    return parts.join(" ");
}

// What is told next is looked at first.
function tell(text) {
    news = text;
    setText(byID("letters-text"), news);
    setTimeout(() => { if (news === text) news = ""; }, NEWS_MS);
    lookedDepth = null;
    askedAt = 0;
}
