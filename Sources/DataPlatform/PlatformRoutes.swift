import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import OpsMetrics
import ServiceLifecycle
import ServiceRuntime

/// A request's context that knows its connection, so that a request can be left without an answer.
struct PlatformContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}

/// The platform's HTTP interface.
struct PlatformRoutes: Sendable {
    /// The largest body of a `POST /v1/events`, in bytes.
    static let maximumBodyBytes = 4 * 1024 * 1024
    /// The most events of a `GET /v1/events`.
    static let maximumLimit = 10_000
    /// How long a request hangs at most.
    static let longestHang = Duration.seconds(600)
    /// How soon a request that hangs, or waits, notices that it must not any longer.
    private static let lookAgain = Duration.milliseconds(50)

    let platform: Platform
    var signatures = SignatureCheck(keys: nil, isRequired: false)

    /// All routes, with health and metrics.
    func router(metrics: MetricsRegistry) -> Router<PlatformContext> {
        let router = Router(context: PlatformContext.self)
        router.add(middleware: HTTPMetricsMiddleware(metrics: metrics))
        router.add(middleware: ProblemMiddleware())
        OperationsRoutes(metrics: metrics, checks: []).add(to: router)
        router.post("/v1/events", use: postEvents)
        router.get("/v1/events", use: getEvents)
        router.delete("/v1/events") { _, _ in
            await platform.forgetAll()
            return Response(status: .noContent)
        }
        router.get("/v1/stats") { _, _ in try Response.json(await platform.statistics) }
        router.get("/v1/faults") { _, _ in try Response.json(await platform.faults) }
        router.put("/v1/faults", use: putFaults)
        return router
    }

    private struct Accepted: Encodable {
        let accepted: Int
        let duplicates: Int
    }

    private func postEvents(_ request: Request, _ context: PlatformContext) async throws -> Response {
        switch await platform.admit() {
        case .handle(let delay):
            try await wait(until: .now + delay) { true }
            return try await receive(request)
        case .refuse(let status, let retryAfter):
            throw Problem(
                status: HTTPResponse.Status(code: status),
                code: "fault",
                detail: "The platform was told to refuse.",
                headers: retryAfter.map { [.retryAfter: "\($0)"] } ?? [:]
            )
        case .hang:
            await hang(request)
            await platform.endHanging()
            return await cutOff(context)
        case .cutOff:
            return await cutOff(context)
        }
    }

    private func receive(_ request: Request) async throws -> Response {
        let events: [IncomingEvent]
        do {
            events = try await read(request)
        } catch {
            await platform.refuseInvalid()
            throw error
        }
        switch await platform.receive(events, at: Date()) {
        case .stored(let new, let repeated):
            return try .json(Accepted(accepted: new + repeated, duplicates: repeated), status: .accepted)
        case .rejected(let subject):
            throw Problem(
                status: .unprocessableContent,
                code: "event_rejected",
                detail: "The platform was told to reject an event of this request, with the subject '\(subject)'."
            )
        }
    }

    private func read(_ request: Request) async throws -> [IncomingEvent] {
        let contentType = request.headers[.contentType]?.prefix { $0 != ";" }.lowercased() ?? ""
        let isBatch: Bool
        switch contentType.filter({ $0 != " " }) {
        case "application/cloudevents+json": isBatch = false
        case "application/cloudevents-batch+json": isBatch = true
        default:
            throw Problem(
                status: .unsupportedMediaType,
                code: "unsupported_media_type",
                detail: "Expected application/cloudevents+json or application/cloudevents-batch+json."
            )
        }
        let body = Array(buffer: try await request.collectBody(limit: Self.maximumBodyBytes))
        try signatures.check(request.headers, body: body, now: Date())
        return isBatch ? try IncomingEvent.batch(body) : [try IncomingEvent.one(body)]
    }

    private func getEvents(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let query = request.uri.queryParameters
        let text = query["limit"].map(String.init) ?? "100"
        guard let limit = Int(text), (1...Self.maximumLimit).contains(limit) else {
            let field = FieldProblem(field: "limit", code: "out_of_range", detail: "expected 1 to \(Self.maximumLimit)")
            let detail = "The query parameter 'limit' is wrong."
            throw Problem(status: .badRequest, code: "invalid_parameter", detail: detail, errors: [field])
        }
        let events = await platform.recent(subject: query["subject"].map(String.init), limit: limit)
        var body = ByteBuffer(string: #"{"data":["#)
        for (index, event) in events.enumerated() {
            if index > 0 { body.writeString(",") }
            // The object as it came, and one more member. No attribute of a CloudEvent can have its name, since
            // theirs are in lower case.
            body.writeBytes(event.json.dropLast())
            let time = event.receivedAt.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
            body.writeString(#","receivedAt":"\#(time)"}"#)
        }
        body.writeString(#"],"nextCursor":null}"#)
        return Response(
            status: .ok,
            headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: body)
        )
    }

    private func putFaults(_ request: Request, _ context: PlatformContext) async throws -> Response {
        let body = try await request.collectBody(limit: Self.maximumBodyBytes)
        let faults: Faults
        do {
            faults = try JSONDecoder().decode(Faults.self, from: Data(body.readableBytesView))
        } catch {
            throw Problem.decoding(error)
        }
        await platform.set(faults)
        context.logger.notice("faults set", metadata: ["mode": "\(faults.mode.rawValue)"])
        return try .json(faults)
    }

    /// Returns when the client has gone, the mode has changed, the process stops, or the longest time is over.
    private func hang(_ request: Request) async {
        try? await request.body.consumeWithCancellationOnInboundClose { body in
            for try await _ in body {}
            try await wait(until: .now + Self.longestHang) { await platform.faults.mode == .hang }
        }
    }

    /// Sleeps until the deadline, but no longer than the condition holds and the process is not stopping.
    private func wait(
        until deadline: ContinuousClock.Instant,
        while condition: @Sendable () async -> Bool
    ) async throws {
        while .now < deadline, !Task.isShuttingDownGracefully, await condition() {
            try await Task.sleep(for: min(Self.lookAgain, deadline - .now))
        }
    }

    /// Closes the connection; the answer is a formality that nobody receives.
    private func cutOff(_ context: PlatformContext) async -> Response {
        try? await context.channel.close()
        return Response(status: .serviceUnavailable)
    }
}
