// Orders that arrive at a constant rate, whether the earlier ones have been answered or not.
// Environment: URL, USERS, PRODUCTS, RATE per second, SECONDS, SUMMARY (the file for the result); FIRST_USER and
// FIRST_PRODUCT where the ids do not begin with 1.
import http from 'k6/http';

const { URL, USERS, PRODUCTS, RATE, SECONDS, SUMMARY } = __ENV;
const firstUser = Number(__ENV.FIRST_USER || 1);
const firstProduct = Number(__ENV.FIRST_PRODUCT || 1);

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

function randomFrom(first, count) {
    return first + Math.floor(Math.random() * count);
}

export default function () {
    const items = [{ productId: randomFrom(firstProduct, PRODUCTS), quantity: 1 }];
    const order = { userId: randomFrom(firstUser, USERS), items };
    http.post(`${URL}/v1/orders`, JSON.stringify(order), parameters);
}

export function handleSummary(data) {
    return { [SUMMARY]: JSON.stringify(data) };
}
