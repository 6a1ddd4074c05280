import FoundationEssentials
import Hummingbird
import OrderDomain
import OrderMessages
import OrderStore
import Postgres

/// `/v1/orders`
struct OrderRoutes {
    private let orders: OrderReader
    private let engine: CommitEngine

    init(pool: PostgresPool, engine: CommitEngine) {
        orders = OrderReader(pool)
        self.engine = engine
    }

    func add(to v1: RouterGroup<APIContext>) {
        v1.post("/orders", use: place)
        v1.get("/orders", use: list)
        v1.get("/orders/:id", use: show)
    }

    @Sendable private func place(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.jsonBody(context)
        let wish = try PlaceOrderRequest(parsing: body)
        let now = Date().wholeMilliseconds
        let command = PlaceOrder(
            orderID: OrderID(.version7(at: now)),
            entryID: .version7(at: now),
            userID: wish.userID,
            lines: wish.lines,
            claim: try request.idempotencyClaim(of: wish.userID, body: body),
            at: now
        )
        let answer = try await engine.submit(
            Submission(command: .placeOrder(command), requestID: context.requestID, traceparent: context.traceparent)
        )
        return .committed(answer)
    }

    @Sendable private func show(_ request: Request, _ context: APIContext) async throws -> Response {
        let id = try context.orderID()
        guard let order = try await orders.find(id, deadline: context.deadline) else {
            throw Problem.notFound("order", id.text)
        }
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
