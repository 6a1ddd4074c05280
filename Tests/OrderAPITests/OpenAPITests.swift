import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import OpsMetrics
import Postgres
import Redis
import ServiceRuntime
import Testing
import Yams

@testable import OrderAPI

@Suite("OpenAPI")
struct OpenAPITests {
    @Test("every route is described, and everything described is a route")
    func describesEveryRoute() throws {
        let router = Router(context: APIContext.self)
        try api().add(to: router)
        let routes = Set(router.routes.map { "\($0.method.rawValue) \($0.path)" })
        let described = Set(try operations().keys)
        #expect(routes.subtracting(described) == [])
        #expect(described.subtracting(routes) == [])
    }

    @Test("every operation has an id of its own")
    func operationsHaveIDs() throws {
        let ids = try operations().values.map { $0["operationId"]?.string ?? "" }
        #expect(!ids.contains(""))
        #expect(Set(ids).count == ids.count)
    }

    @Test("every answer of an operation names the request")
    func answersNameTheRequest() throws {
        let root = try #require(try Yams.compose(yaml: OpenAPIDocument.yaml))
        for (name, operation) in try operations() {
            for (status, answer) in operation["responses"]?.mapping ?? [:] {
                let shared = answer["$ref"]?.string?.split(separator: "/").last.flatMap {
                    root["components"]?["responses"]?[String($0)]
                }
                #expect((shared ?? answer)["headers"]?["X-Request-Id"] != nil, "\(name) \(status.string ?? "")")
            }
        }
    }

    @Test("JSON says the same as YAML, in the same order")
    func convertsToJSON() throws {
        let yaml = """
            b: [1, -2.5, true, null, "3", 1e2]
            a: {"2": text, z: 2026-01-31T09:05:00.250Z, y: "a \\"quoted\\" line\\n"}
            """
        let json =
            #"{"b":[1,-2.5,true,null,"3",100],"#
            + #""a":{"2":"text","z":"2026-01-31T09:05:00.250Z","y":"a \"quoted\" line\n"}}"#
        #expect(try OpenAPIDocument.json(from: yaml) == json)
    }

    @Test("a text that JSON cannot say is refused", arguments: ["", "{[1]: 2}", "a: ["])
    func refusesWhatIsNotJSON(yaml: String) {
        #expect(throws: (any Error).self) { try OpenAPIDocument.json(from: yaml) }
    }

    @Test(
        "both forms have a strong ETag, and are not sent to who has them",
        arguments: ["/openapi.json", "/openapi.yaml"]
    )
    func isCacheable(path: String) async throws {
        try await Application(router: try router()).test(.router) { client in
            let first = try await client.execute(uri: path, method: .get)
            #expect(first.status == .ok)
            let etag = try #require(first.headers[.eTag])
            #expect(etag.hasPrefix("\"") && etag.count == 34)
            #expect(first.headers[.cacheControl] == ServedDocument.cacheControl)
            for known in [etag, "\"x\", W/\(etag)", "*"] {
                let second = try await client.execute(uri: path, method: .get, headers: [.ifNoneMatch: known])
                #expect(second.status == .notModified)
                #expect(second.headers[.eTag] == etag)
                #expect(second.body.readableBytes == 0)
            }
            let other = try await client.execute(uri: path, method: .get, headers: [.ifNoneMatch: "\"x\""])
            #expect(other.body == first.body)
        }
    }

    @Test("Swagger UI is served from its folder, and no other file is")
    func servesSwaggerUI() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "swagger-ui-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for name in Array(SwaggerUIRoutes.files.keys) + ["secret.txt"] {
            try name.write(to: folder.appending(path: name), atomically: true, encoding: .utf8)
        }
        let router = try router(swaggerUI: folder.path(percentEncoded: false))
        try await Application(router: router).test(.router) { client in
            let page = try await client.execute(uri: "/docs", method: .get)
            #expect(page.headers[.contentSecurityPolicy]?.contains("script-src 'self';") == true)
            // Every script and style of the page is a file that is served; none stands in the page.
            let files = String(buffer: page.body).matches(of: /(?:src|href)="\/docs\/([^"]+)"/).map { $0.output.1 }
            #expect(Set(files.map(String.init)) == Set(SwaggerUIRoutes.files.keys).union(["swagger-ui-start.js"]))
            #expect(!String(buffer: page.body).contains(/<script>|<style>| on[a-z]+=/))
            for file in files {
                let answer = try await client.execute(uri: "/docs/\(file)", method: .get)
                #expect(answer.status == .ok)
                #expect(file == "swagger-ui-start.js" || String(buffer: answer.body) == file)
            }
            for name in ["secret.txt", "..%2Fsecret.txt", "%2Fetc%2Fpasswd", "../docs/secret.txt", ""] {
                let answer = try await client.execute(uri: "/docs/\(name)", method: .get)
                #expect(answer.status == (name.isEmpty ? .ok : .notFound), "\(name)")
            }
        }
    }

    @Test("without Swagger UI /docs says how to get it")
    func saysHowToInstall() async throws {
        try await Application(router: try router()).test(.router) { client in
            for path in ["/docs", "/docs/swagger-ui.css"] {
                let answer = try await client.execute(uri: path, method: .get)
                #expect(answer.status == .notFound)
                #expect(answer.headers[.contentType] == "application/problem+json")
                #expect(String(buffer: answer.body).contains("ops/dev/swagger-ui"))
            }
        }
    }

    @Test("a folder without Swagger UI is a wrong setting")
    func refusesAnEmptyFolder() {
        #expect(throws: SettingsError.self) { try SwaggerUIRoutes(folder: "/nonexistent") }
    }

    /// What the description says, by method and path, for example `GET /v1/users/{id}`.
    private func operations() throws -> [String: Node] {
        let root = try #require(try Yams.compose(yaml: OpenAPIDocument.yaml))
        var operations: [String: Node] = [:]
        for (path, item) in try #require(root["paths"]?.mapping) {
            for (key, operation) in item.mapping ?? [:] where key.string != "parameters" {
                operations["\(key.string?.uppercased() ?? "") \(path.string ?? "")"] = operation
            }
        }
        return operations
    }

    /// The real router, in front of servers that nobody asks.
    private func router(swaggerUI: String? = nil) throws -> Router<APIContext> {
        makeRouter(try api(swaggerUI: swaggerUI), pool: try pool(), metrics: MetricsRegistry(), logger: logger)
    }

    private let logger = Logger(label: "openapi-tests") { _ in SwiftLogNoOpLogHandler() }

    private func pool() throws -> PostgresPool {
        PostgresPool(
            configuration: try PostgresConfiguration(
                url: "postgres://nobody@127.0.0.1:1/none",
                applicationName: "test"
            ),
            maximumConnections: 1,
            logger: logger
        )
    }

    private func api(swaggerUI: String? = nil) throws -> API {
        let metrics = MetricsRegistry()
        let pool = try pool()
        let redis = RedisClient(configuration: try RedisConfiguration(url: "redis://127.0.0.1:1/0"), logger: logger)
        let commitMetrics = CommitMetrics(metrics)
        let gate = SoldOutGate()
        let engine = CommitEngine(
            lanes: 1,
            committer: BatchCommitter(pool: pool, gate: gate, metrics: commitMetrics, logger: logger),
            metrics: commitMetrics,
            onCommit: {}
        )
        return API(
            users: UserRoutes(pool: pool, engine: engine),
            products: ProductRoutes(pool: pool, gate: gate),
            orders: OrderRoutes(pool: pool, engine: engine),
            popular: PopularRoutes(PopularProducts(redis: redis, pool: pool, logger: logger)),
            operations: OperationsRoutes(metrics: metrics, checks: []),
            openAPI: try OpenAPIRoutes(),
            swaggerUI: try SwaggerUIRoutes(folder: swaggerUI)
        )
    }
}
