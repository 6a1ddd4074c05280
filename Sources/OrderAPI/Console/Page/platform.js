// The switches of the mock data platform, where there is one.

import { byID, call, setText, silence } from "./page.js";

const form = byID("platform-form");

// Only what the chosen fault takes is asked for.
function showFields() {
    const mode = form.elements.mode.value;
    for (const field of form.querySelectorAll("[data-for]")) {
        field.hidden = !field.dataset.for.split(" ").includes(mode);
    }
}

const MEANINGS = {
    ok: "It takes every event.",
    down: "It refuses every request.",
    slow: "It takes its time.",
    flaky: "It refuses some requests.",
    reject: "It refuses the events of some orders for good.",
    hang: "It never answers.",
};

export function showPlatform({ platform }) {
    byID("platform").hidden = platform == null;
    if (!platform) return;
    if (platform.value == null) {
        setText(byID("platform-text"), `It does not answer: ${silence(platform)}.`);
        return;
    }
    const { mode, status, latencyMs, rate, subjects } = platform.value;
    setText(byID("platform-text"), MEANINGS[mode] ?? mode);
    // The choice follows what is, but not while somebody is choosing.
    if (byID("platform").mode === mode) return;
    byID("platform").mode = mode;
    form.elements.mode.value = mode;
    byID("platform-status").value = status;
    if (mode === "slow") byID("platform-latency").value = latencyMs;
    if (mode === "flaky") byID("platform-rate").value = rate;
    byID("platform-subjects").value = subjects.join(" ");
    showFields();
}

form.addEventListener("change", showFields);

form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const mode = form.elements.mode.value;
    const body = { mode };
    if (mode === "down" || mode === "flaky") body.status = Number(byID("platform-status").value);
    if (mode === "slow") body.latencyMs = Number(byID("platform-latency").value);
    if (mode === "flaky") body.rate = Number(byID("platform-rate").value);
    if (mode === "reject") body.subjects = byID("platform-subjects").value.split(/[\s,]+/).filter(Boolean);
    try {
        await call("/platform/faults", { method: "PUT", body });
        byID("platform").mode = mode;
        setText(byID("platform-text"), MEANINGS[mode]);
    } catch (refusal) {
        setText(byID("platform-text"), `It was not switched: ${refusal.message}.`);
    }
});

showFields();
