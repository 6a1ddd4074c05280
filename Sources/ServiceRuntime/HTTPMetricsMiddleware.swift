import HTTPTypes
package import Hummingbird
package import OpsMetrics

/// Measures every request as `http_request_duration_seconds{method,route,status}`.
///
/// Add it to the router first. `route` is the pattern of the endpoint, not the path, and `unmatched` where there is
/// none; a method that HTTP does not define is `other`: no client can make new label values. The time ends when the
/// answer is ready to be written.
package struct HTTPMetricsMiddleware<Context: RequestContext>: RouterMiddleware {
    private static var buckets: [Double] {
        [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
    }

    private let durations: MetricFamily<Histogram>

    /// Makes the metric in the registry; once for a registry.
    package init(metrics: MetricsRegistry) {
        durations = metrics.histogram(
            "http_request_duration_seconds",
            help: "Time from the head of a request to the answer being ready.",
            labels: ["method", "route", "status"],
            buckets: Self.buckets
        )
    }

    /// Measures the request, whatever becomes of it.
    @concurrent package func handle(
        _ request: Request,
        context: Context,
        next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        do {
            let response = try await next(request, context)
            record(request, context, response.status, since: start)
            return response
        } catch {
            let status = (error as? any HTTPResponseError)?.status ?? .internalServerError
            record(request, context, status, since: start)
            throw error
        }
    }

    private func record(
        _ request: Request,
        _ context: Context,
        _ status: HTTPResponse.Status,
        since start: ContinuousClock.Instant
    ) {
        durations.with(method(request.method), route(context.endpointPath), String(status.code)).observe(.now - start)
    }

    private func method(_ method: HTTPRequest.Method) -> String {
        switch method {
        case .get, .head, .post, .put, .patch, .delete, .options: method.rawValue
        default: "other"
        }
    }

    private func route(_ path: String?) -> String {
        // The router's own not-found answer calls its path so.
        guard let path, path != "NotFound" else { return "unmatched" }
        return path
    }
}
