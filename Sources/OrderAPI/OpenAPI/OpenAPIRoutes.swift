import Hummingbird

/// `/openapi.yaml` and `/openapi.json`
struct OpenAPIRoutes {
    private let yaml: ServedDocument
    private let json: ServedDocument

    /// Converts the description once.
    init() throws {
        yaml = ServedDocument(PackageResources.openapi_yaml, contentType: "application/yaml")
        let text = try OpenAPIDocument.json(from: OpenAPIDocument.yaml)
        json = ServedDocument(text.utf8, contentType: "application/json")
    }

    func add(to router: Router<APIContext>) {
        router.get("/openapi.yaml") { [yaml] request, _ in yaml.response(to: request) }
        router.get("/openapi.json") { [json] request, _ in json.response(to: request) }
    }
}
