import FoundationEssentials
import Hummingbird
import OrderDomain
import OrderMessages
import OrderStore
import Postgres

/// `/v1/products`: the catalogue.
struct ProductRoutes {
    private let products: ProductStore

    init(pool: PostgresPool) {
        products = ProductStore(pool)
    }

    func add(to v1: RouterGroup<APIContext>) {
        v1.post("/products", use: create)
        v1.get("/products", use: list)
        v1.get("/products/:id", use: show)
    }

    @Sendable private func create(_ request: Request, _ context: APIContext) async throws -> Response {
        let wish = try CreateProductRequest(parsing: await request.jsonBody(context))
        let product = try await products.create(
            name: wish.name,
            description: wish.description,
            category: wish.category,
            price: wish.price,
            stock: wish.stock,
            at: Date().wholeMilliseconds,
            deadline: context.deadline
        )
        return try .json(
            .created,
            ProductAnswer(product),
            location: "/v1/products/\(product.id.rawValue)",
            etag: "\"\(product.version)\""
        )
    }

    @Sendable private func show(_ request: Request, _ context: APIContext) async throws -> Response {
        let id = try context.productID()
        guard let product = try await products.find(id, deadline: context.deadline) else {
            throw Problem.notFound("product", "\(id.rawValue)")
        }
        return try .cacheable(request, ProductAnswer(product), version: product.version)
    }

    @Sendable private func list(_ request: Request, _ context: APIContext) async throws -> Response {
        let query = try request.query(["sort", "q", "category", "limit", "cursor"])
        let sort = try choice("sort", in: query, as: ProductStore.Sort.self) ?? .createdAt
        let page = try PageRequest(limit: query["limit"], cursor: query["cursor"], parts: 2)
        let last = try page.after.map { texts in
            guard let position = ProductStore.Position(texts, in: sort) else { throw ValidationFailure.cursor }
            return position
        }
        let found = try await products.list(
            ProductStore.Filter(nameContains: query["q"], category: query["category"]),
            sort: sort,
            after: last,
            limit: page.limit + 1,
            deadline: context.deadline
        )
        return try .json(
            .ok,
            found.page(page, position: { ProductStore.Position(of: $0, in: sort).texts }, as: ProductAnswer.init)
        )
    }
}
