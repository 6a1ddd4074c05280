import FoundationEssentials
import Hummingbird
import OrderDomain
import OrderMessages
import OrderStore
import Postgres

/// `/v1/orders`
struct OrderRoutes {
    private let orders: OrderReader
    private let trail: DeliveryTrail
    private let engine: CommitEngine

    init(pool: PostgresPool, engine: CommitEngine) {
        orders = OrderReader(pool)
        trail = DeliveryTrail(pool)
        self.engine = engine
    }

    func add(to v1: RouterGroup<APIContext>) {
        v1.post("/orders", use: place)
        v1.get("/orders", use: list)
        v1.get("/orders/:id", use: show)
        v1.post("/orders/:id/cancel", use: cancel)
        v1.post("/orders/:id/transitions", use: move)
        v1.get("/orders/:id/history", use: history)
        v1.get("/orders/:id/deliveries", use: deliveries)
    }

    @Sendable private func place(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.jsonBody()
        let wish = try await request.checked(body, of: PlaceOrderRequest.user(of: body)) {
            try PlaceOrderRequest(parsing: body)
        }
        let now = Date().wholeMilliseconds
        let command = PlaceOrder(
            orderID: OrderID(.version7(at: now)),
            entryID: .version7(at: now),
            userID: wish.userID,
            lines: wish.lines,
            claim: try request.idempotencyClaim(of: wish.userID, body: body),
            at: now
        )
        return .committed(try await engine.submit(Submission(.placeOrder(command), context)))
    }

    @Sendable private func cancel(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.jsonBody(mayBeEmpty: true)
        let order = try await request.checked(body) { try await find(try context.orderID(), context) }
        let wish = try await request.checked(body, of: order.userID) { try CancelOrderRequest(parsing: body) }
        return try await change(order, .cancel, reason: wish.reason, body, request, context)
    }

    @Sendable private func move(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.jsonBody()
        let order = try await request.checked(body) { try await find(try context.orderID(), context) }
        let wish = try await request.checked(body, of: order.userID) { try TransitionRequest(parsing: body) }
        return try await change(order, .become(wish.to), reason: wish.reason, body, request, context)
    }

    /// Takes what never changes from the order as it was read, and leaves the rest to the engine.
    private func change(
        _ order: Order,
        _ change: ChangeOrder.Change,
        reason: String?,
        _ body: Data,
        _ request: Request,
        _ context: APIContext
    ) async throws -> Response {
        let now = Date().wholeMilliseconds
        let command = ChangeOrder(
            of: order,
            change: change,
            reason: reason,
            expectedVersions: request.ifMatch.versions,
            entryID: .version7(at: now),
            claim: try request.idempotencyClaim(of: order.userID, body: body),
            at: now
        )
        return .committed(try await engine.submit(Submission(.changeOrder(command), context)))
    }

    @Sendable private func history(_ request: Request, _ context: APIContext) async throws -> Response {
        let order = try await find(try context.orderID(), context)
        return try .json(.ok, OrderHistoryAnswer(try await orders.history(of: order, deadline: context.deadline)))
    }

    @Sendable private func deliveries(_ request: Request, _ context: APIContext) async throws -> Response {
        let id = try context.orderID()
        guard let events = try await trail.events(of: id, deadline: context.deadline) else {
            throw Problem.notFound("order", id.text)
        }
        return try .json(.ok, ListAnswer(events.map(EventTrailAnswer.init), nextCursor: nil))
    }

    private func find(_ id: OrderID, _ context: APIContext) async throws -> Order {
        guard let order = try await orders.find(id, deadline: context.deadline) else {
            throw Problem.notFound("order", id.text)
        }
        return order
    }

    @Sendable private func show(_ request: Request, _ context: APIContext) async throws -> Response {
        let order = try await find(try context.orderID(), context)
        return try .cacheable(request, OrderAnswer(order), version: Int64(order.version))
    }

    @Sendable private func list(_ request: Request, _ context: APIContext) async throws -> Response {
        let query = try request.query(["userId", "status", "limit", "cursor"])
        let page = try PageRequest(limit: query["limit"], cursor: query["cursor"], parts: 1)
        let last = try page.after.map { texts in
            guard let id = UUID(uuidString: texts[0]) else { throw ValidationFailure.cursor }
            return OrderID(id)
        }
        let user = try query["userId"].map { text in
            guard let id = Int64(text).flatMap(UserID.init) else {
                throw ValidationFailure([
                    FieldError(field: "userId", code: "invalid", detail: "must be a positive whole number")
                ])
            }
            return id
        }
        let found = try await orders.list(
            user: user,
            status: try choice("status", in: query),
            olderThan: last,
            limit: page.limit + 1,
            deadline: context.deadline
        )
        return try .json(.ok, found.page(page, position: { [$0.id.text] }, as: OrderAnswer.init))
    }
}
