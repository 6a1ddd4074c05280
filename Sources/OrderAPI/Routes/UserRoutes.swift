import FoundationEssentials
import Hummingbird
import OrderDomain
import OrderMessages
import OrderStore
import Postgres

/// `/v1/users`: who buys, and their balances.
struct UserRoutes {
    private let users: UserStore
    private let engine: CommitEngine

    init(pool: PostgresPool, engine: CommitEngine) {
        users = UserStore(pool)
        self.engine = engine
    }

    func add(to v1: RouterGroup<APIContext>) {
        v1.post("/users", use: create)
        v1.get("/users/:id", use: show)
        v1.post("/users/:id/balance/charges", use: charge)
        v1.get("/users/:id/balance", use: balance)
        v1.get("/users/:id/balance/history", use: history)
    }

    @Sendable private func create(_ request: Request, _ context: APIContext) async throws -> Response {
        let wish = try CreateUserRequest(parsing: await request.jsonBody())
        let user = try await users.create(
            name: wish.name,
            email: wish.email,
            at: Date().wholeMilliseconds,
            deadline: context.deadline
        )
        return try .json(.created, UserAnswer(user), location: "/v1/users/\(user.id.rawValue)")
    }

    @Sendable private func show(_ request: Request, _ context: APIContext) async throws -> Response {
        try .json(.ok, UserAnswer(await find(context)))
    }

    @Sendable private func balance(_ request: Request, _ context: APIContext) async throws -> Response {
        let user = try await find(context)
        return try .cacheable(request, BalanceAnswer(user), version: user.version)
    }

    @Sendable private func charge(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.jsonBody()
        let user = try await request.checked(body) { try context.userID() }
        let wish = try await request.checked(body, of: user) { try ChargeRequest(parsing: body) }
        let now = Date().wholeMilliseconds
        let command = ChargeBalance(
            entryID: .version7(at: now),
            userID: user,
            amount: wish.amount,
            claim: try request.idempotencyClaim(of: user, body: body),
            at: now
        )
        return .committed(try await engine.submit(Submission(.chargeBalance(command), context)))
    }

    @Sendable private func history(_ request: Request, _ context: APIContext) async throws -> Response {
        let query = try request.query(["type", "limit", "cursor"])
        let page = try PageRequest(limit: query["limit"], cursor: query["cursor"], parts: 1)
        let version = try page.after.map { position in
            guard let version = Int64(position[0]) else { throw ValidationFailure.cursor }
            return version
        }
        let kind: BalanceEntry.Kind? = try choice("type", in: query)
        let user = try await find(context)
        let entries = try await users.history(
            of: user.id,
            kind: kind,
            olderThan: version,
            limit: page.limit + 1,
            deadline: context.deadline
        )
        return try .json(.ok, entries.page(page, position: { ["\($0.version)"] }, as: BalanceEntryAnswer.init))
    }

    private func find(_ context: APIContext) async throws -> User {
        let id = try context.userID()
        guard let user = try await users.find(id, deadline: context.deadline) else {
            throw Problem.notFound("user", "\(id.rawValue)")
        }
        return user
    }
}
