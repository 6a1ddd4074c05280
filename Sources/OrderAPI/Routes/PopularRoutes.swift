import Hummingbird
import OrderDomain
import OrderMessages
import OrderStore

/// `/v1/products/popular`
struct PopularRoutes {
    private let popular: PopularProducts

    init(_ popular: PopularProducts) {
        self.popular = popular
    }

    func add(to v1: RouterGroup<APIContext>) {
        v1.get("/products/popular", use: show)
    }

    @Sendable private func show(_ request: Request, _ context: APIContext) async throws -> Response {
        let query = try request.query(["limit", "by"])
        let page = try PageRequest(limit: query["limit"], cursor: nil, parts: 0, defaultLimit: 5)
        let ranking = try choice("by", in: query, as: Ranking.self) ?? .quantity
        return .json(.ok, body: try await popular.body(ranking, limit: page.limit, deadline: context.deadline))
    }
}
