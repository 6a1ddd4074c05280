import Hummingbird
import Logging
import OpsMetrics
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
}

/// Wires routes to what answers them.
func makeRouter(_ api: API, metrics: MetricsRegistry, logger: Logger) -> Router<APIContext> {
    let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
    router.addMiddleware {
        HTTPMetricsMiddleware(metrics: metrics)
        RequestIdentity()
        Problems()
    }
    api.operations.add(to: router)
    api.openAPI.add(to: router)
    api.swaggerUI.add(to: router)
    let v1 = router.group("/v1")
    api.users.add(to: v1)
    api.popular.add(to: v1)
    api.products.add(to: v1)
    api.orders.add(to: v1)
    router.refuseOtherMethods()
    return router
}
