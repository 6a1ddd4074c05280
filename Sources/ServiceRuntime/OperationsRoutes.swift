import HTTPTypes
package import Hummingbird
import NIOCore
package import OpsMetrics

/// The pages that every long-running process has: `/health/live`, `/health/ready`, `/health/serving` and `/metrics`.
///
/// `ready` asks whether all is well; `serving`, which is for load balancers, asks the essential checks alone, so that a
/// process goes on to take what it can take. Both say no once the process is stopping.
package struct OperationsRoutes: Sendable {
    private let metrics: MetricsRegistry
    private let readiness: Readiness
    private let drain: Drain
    private let dependencies: MetricFamily<Gauge>

    /// Creates the pages; the checks decide about readiness, liveness asks nobody.
    package init(metrics: MetricsRegistry, checks: [HealthCheck], drain: Drain = Drain(.zero)) {
        self.metrics = metrics
        self.drain = drain
        readiness = Readiness(checks)
        dependencies = metrics.gauge(
            "dependency_up",
            help: "1 when a server that this process needs can be reached, 0 when not.",
            labels: ["dependency"]
        )
    }

    /// Adds the pages to a router, behind whatever middleware it has so far.
    package func add<Context: RequestContext>(to router: Router<Context>) {
        router.get("/health/live") { _, _ in
            Response(status: .ok, contentType: "application/json", text: #"{"status":"live"}"#)
        }
        router.get("/health/ready") { [readiness, drain] _, _ in
            Self.readyResponse(await readiness.answers(), drain)
        }
        router.get("/health/serving") { [readiness, drain] _, _ in
            Self.readyResponse(await readiness.answers(essentialOnly: true), drain)
        }
        router.get("/metrics") { [metrics, readiness, dependencies] _, _ in
            for answer in await readiness.answers() {
                dependencies.with(answer.name).set(answer.failure == nil ? 1 : 0)
            }
            return Response(
                status: .ok,
                contentType: "text/plain; version=0.0.4; charset=utf-8",
                text: metrics.render()
            )
        }
    }

    private static func readyResponse(_ answers: [Readiness.Answer], _ drain: Drain) -> Response {
        var answers = answers
        if drain.hasBegun {
            answers.append(Readiness.Answer(name: "process", failure: "it is stopping", duration: .zero))
        }
        let isReady = answers.allSatisfy { $0.failure == nil }
        let checks = answers.map { answer in
            var check = JSONObjectText()
            check.add("name", answer.name)
            check.add("status", answer.failure == nil ? "ok" : "failed")
            if let failure = answer.failure { check.add("detail", failure) }
            check.add("durationMs", json: "\(Int(answer.duration / .milliseconds(1)))")
            return check.finished
        }
        var body = JSONObjectText()
        body.add("status", isReady ? "ready" : "unready")
        body.add("checks", json: "[\(checks.joined(separator: ","))]")
        return Response(
            status: isReady ? .ok : .serviceUnavailable,
            contentType: "application/json",
            text: body.finished
        )
    }
}

extension Response {
    fileprivate init(status: HTTPResponse.Status, contentType: String, text: String) {
        let headers: HTTPFields = [.contentType: contentType, .cacheControl: "no-store"]
        self.init(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
