-- For every script here: what a run came to, as the one line of JSON that bench/generators.py reads.

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"answers":%d,"refused":%d,"broken":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
        summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
