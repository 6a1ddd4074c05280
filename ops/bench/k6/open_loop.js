// Orders that arrive at a constant rate, whether the earlier ones have been answered or not.
// Environment: URL, USERS, PRODUCTS, RATE per second, SECONDS, SUMMARY (the file for the result).
import http from 'k6/http';

const { URL, USERS, PRODUCTS, RATE, SECONDS, SUMMARY } = __ENV;

export const options = {
    scenarios: {
        orders: {
            executor: 'constant-arrival-rate',
            rate: Number(RATE),
            timeUnit: '1s',
            duration: `${SECONDS}s`,
            preAllocatedVUs: 300,
            maxVUs: 1000,
        },
    },
    discardResponseBodies: true,
    summaryTrendStats: ['med', 'p(99)', 'max'],
};

const parameters = { headers: { 'Content-Type': 'application/json' }, timeout: '10s' };

function randomUpTo(count) {
    return 1 + Math.floor(Math.random() * count);
}

export default function () {
    const items = [{ productId: randomUpTo(PRODUCTS), quantity: 1 }];
    http.post(`${URL}/v1/orders`, JSON.stringify({ userId: randomUpTo(USERS), items }), parameters);
}

export function handleSummary(data) {
    return { [SUMMARY]: JSON.stringify(data) };
}
