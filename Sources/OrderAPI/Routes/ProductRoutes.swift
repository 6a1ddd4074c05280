import FoundationEssentials
import Hummingbird
import OrderDomain
import OrderMessages
import OrderStore
import Postgres

/// `/v1/products`: the catalogue.
struct ProductRoutes {
    private let pool: PostgresPool
    private let products: ProductStore
    private let gate: SoldOutGate

    init(pool: PostgresPool, gate: SoldOutGate) {
        self.pool = pool
        products = ProductStore(pool)
        self.gate = gate
    }

    func add(to v1: RouterGroup<APIContext>) {
        v1.post("/products", use: create)
        v1.get("/products", use: list)
        v1.get("/products/:id", use: show)
        v1.patch("/products/:id", use: update)
        v1.post("/products/:id/stock-adjustments", use: adjustStock)
    }

    @Sendable private func create(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.jsonBody()
        let wish = try await request.checked(body) { try CreateProductRequest(parsing: body) }
        let now = Date().wholeMilliseconds
        let claim = try request.idempotencyClaim(of: nil, body: body)
        return try await .once(claim, at: now, in: pool, deadline: context.deadline) { connection in
            let product = try await ProductStore.create(
                name: wish.name,
                description: wish.description,
                category: wish.category,
                price: wish.price,
                stock: wish.stock,
                at: now,
                on: connection,
                deadline: context.deadline
            )
            return .done(
                201,
                try encoded(ProductAnswer(product)),
                location: "/v1/products/\(product.id.rawValue)",
                version: product.version
            )
        }
    }

    @Sendable private func update(_ request: Request, _ context: APIContext) async throws -> Response {
        let id = try context.productID()
        let wish = try UpdateProductRequest(parsing: await request.jsonBody())
        let result = try await products.update(
            id,
            wish.changes,
            expectedVersions: request.ifMatch.versions,
            at: Date().wholeMilliseconds,
            deadline: context.deadline
        )
        switch result {
        case .success(let product):
            return try .json(.ok, ProductAnswer(product), etag: EntityTag(version: product.version).field)
        case .failure(let refused): throw Problem(refused.refusal)
        }
    }

    @Sendable private func adjustStock(_ request: Request, _ context: APIContext) async throws -> Response {
        let body = try await request.jsonBody()
        let (id, wish) = try await request.checked(body) {
            (try context.productID(), try AdjustStockRequest(parsing: body))
        }
        let now = Date().wholeMilliseconds
        let claim = try request.idempotencyClaim(of: nil, body: body)
        var adjusted: Product?
        let response = try await Response.once(claim, at: now, in: pool, deadline: context.deadline) { connection in
            let result = try await ProductStore.adjustStock(
                of: id,
                by: wish.delta,
                reason: wish.reason,
                expectedVersions: request.ifMatch.versions,
                at: now,
                on: connection,
                deadline: context.deadline
            )
            switch result {
            case .success((let adjustment, let product)):
                adjusted = product
                return .done(
                    201,
                    try encoded(StockAdjustmentAnswer(adjustment)),
                    location: "/v1/products/\(id.rawValue)",
                    version: nil
                )
            case .failure(let refused):
                return .refused(refused.refusal, requestID: context.requestID)
            }
        }
        if let product = adjusted {
            gate.learn(id, stock: product.stock, version: product.version)
        }
        return response
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
