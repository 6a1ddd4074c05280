import Hummingbird
import Logging
import OpsMetrics
import Postgres
import ServiceRuntime

/// Everything that is served.
struct API {
    let users: UserRoutes
    let products: ProductRoutes
    let orders: OrderRoutes
    let popular: PopularRoutes
    let operations: OperationsRoutes
    let openAPI: OpenAPIRoutes
    let swaggerUI: SwaggerUIRoutes

    func add(to router: Router<APIContext>) {
        operations.add(to: router)
        openAPI.add(to: router)
        swaggerUI.add(to: router)
        let v1 = router.group("/v1")
        users.add(to: v1)
        popular.add(to: v1)
        products.add(to: v1)
        orders.add(to: v1)
    }
}

/// Wires routes to what answers them.
///
/// - Parameter pool: where refusals are remembered.
func makeRouter(
    _ api: API,
    pool: PostgresPool,
    metrics: MetricsRegistry,
    logger: Logger
) -> Router<APIContext> {
    let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
    router.addMiddleware {
        HTTPMetricsMiddleware(metrics: metrics)
        RequestIdentity()
        Problems(pool: pool)
    }
    api.add(to: router)
    router.refuseOtherMethods()
    return router
}
