import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Operations
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceLifecycle
import ServiceRuntime

/// What the console's page asks for, below `/console/api`.
struct ConsoleRoutes {
    /// How many of the newest orders are listed.
    private static let newestOrders = 6

    private struct Trace: Encodable {
        let orderId: String
        let data: [EventTrailAnswer]
    }

    private struct NewestOrder: Encodable {
        let orderId: String
        let status: String
        let totalAmount: Int64
        let createdAt: String
    }

    let access: OperatorAccess
    let sampler: ConsoleSampler
    let deadLetters: DeadLetterDesk
    let pool: PostgresPool
    let mockPlatform: MockPlatform?

    func add(to api: RouterGroup<APIContext>) {
        api.get("/snapshot") { _, _ in Self.json(try await sampler.whole()) }
        api.get("/events", use: events)
        api.get("/orders") { _, context in Self.json(try encoded(await newest(context))) }
        api.get("/orders/:id/trace") { _, context in Self.json(try encoded(await trace(context))) }
        api.get("/dead-letters") { _, _ in
            let counted = await sampler.deadLetters
            return try await Self.withProblems { Self.json(try encoded(await deadLetters.groups(counted: counted))) }
        }
        api.post("/redrives") { request, _ in
            let order = try await Self.order(in: request)
            return try await Self.withProblems { Self.json(try await deadLetters.redrive(order)) }
        }
        api.put("/platform/faults", use: setFaults)
    }

    // MARK: Live

    /// Server-sent events: all that is known at once, and what is new each second. It ends with the process, and with
    /// the session: then browsers come again, and are refused.
    private func events(_ request: Request, _ context: APIContext) async throws -> Response {
        let end = try access.proof(of: request, at: Date())?.end
        guard let viewer = sampler.viewers.join(on: context.channel) else { throw Problem.tooManyViewers }
        let first: ByteBuffer
        do {
            first = ConsoleSampler.event(try await sampler.whole())
        } catch {
            sampler.viewers.leave(viewer.id)
            throw error
        }
        let body = ResponseBody { [viewers = sampler.viewers] writer in
            defer { viewers.leave(viewer.id) }
            // After a restart browsers come again by themselves, within a second.
            try await writer.write(ByteBuffer(string: "retry: 1000\n"))
            try await writer.write(first)
            for await message in viewer.messages.cancelOnGracefulShutdown() {
                if let end, end <= Date() { break }
                try await writer.write(message)
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok,
            headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: body
        )
    }

    // MARK: Orders

    private func newest(_ context: APIContext) async throws -> [NewestOrder] {
        let orders = try await OrderReader(pool).list(
            user: nil,
            status: nil,
            olderThan: nil,
            limit: Self.newestOrders,
            deadline: context.deadline
        )
        return orders.map { order in
            NewestOrder(
                orderId: order.id.text,
                status: order.status.rawValue,
                totalAmount: order.total.minorUnits,
                createdAt: order.createdAt.rfc3339
            )
        }
    }

    private func trace(_ context: APIContext) async throws -> Trace {
        let id = try context.orderID()
        guard let trails = try await DeliveryTrail(pool).events(of: id, deadline: context.deadline) else {
            throw Problem.notFound("order", id.text)
        }
        return Trace(orderId: id.text, data: trails.map(EventTrailAnswer.init))
    }

    // MARK: Dead letters

    private static func order(in request: Request) async throws -> DeadLetterDesk.Order {
        let body = try await request.collectBody()
        return try DeadLetterDesk.Order(parsing: Data(body.readableBytesView))
    }

    /// What `orderctl` would say on standard error, as a problem.
    private static func withProblems(_ body: () async throws -> Response) async throws -> Response {
        do {
            return try await body()
        } catch let failure as ProcessFailure {
            let isAway = failure.exitCode == ExitCode.unavailable
            throw Problem(
                status: isAway ? 503 : 409,
                code: isAway ? "broker_unavailable" : "dead_letters_busy",
                title: "The dead letters cannot be gone through now",
                detail: failure.description
            )
        }
    }

    // MARK: The mock data platform

    private func setFaults(_ request: Request, _ context: APIContext) async throws -> Response {
        guard let mockPlatform else { throw Problem.noMock }
        let body = try await request.collectBody()
        do {
            let answer = try await mockPlatform.setFaults(Array(body.readableBytesView))
            context.logger.notice("faults of the mock data platform set", metadata: ["status": "\(answer.status)"])
            return Response(
                status: HTTPResponse.Status(code: answer.status),
                headers: [.contentType: answer.contentType ?? "application/json"],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body))
            )
        } catch {
            throw Problem.mockAway
        }
    }

    private static func json(_ text: String) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }
}

extension Problem {
    fileprivate static let tooManyViewers: Problem = {
        var problem = Problem(
            status: 503,
            code: "too_many_viewers",
            title: "Too many watch already",
            detail: "at most \(ConsoleViewers.maximum) can watch at once; close another page of the console"
        )
        problem.retryAfterSeconds = 5
        return problem
    }()

    fileprivate static let noMock = Problem(
        status: 404,
        code: "no_mock_platform",
        title: "The data platform is no mock",
        detail: "its faults can be switched only where MOCK_PLATFORM_URL says where the mock is"
    )

    fileprivate static let mockAway = Problem(
        status: 503,
        code: "mock_unavailable",
        title: "The mock data platform cannot be reached",
        detail: "it did not answer within 3 s"
    )
}
