import Foundation
import HTTPTypes
import Hummingbird
import OrderMessages
import ServiceRuntime

/// `/docs`: Swagger UI, which shows `/openapi.json` and lets it be tried. Nothing of it comes from elsewhere.
struct SwaggerUIRoutes {
    /// The files of Swagger UI that the page needs, with their media types. No other is ever read, and none after the
    /// start.
    static let files = [
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "swagger-ui.css": "text/css; charset=utf-8",
        "favicon-32x32.png": "image/png",
    ]
    /// The largest of them has 1.6 MB; more than this is no file of Swagger UI.
    static let maximumFileSize = 8 * 1024 * 1024

    /// Scripts and styles from here alone, and requests to here alone. React sets styles on elements, hence
    /// `unsafe-inline` for them; for scripts there is none.
    static let contentSecurityPolicy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:",
        "font-src 'self' data:", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
        "frame-ancestors 'none'",
    ].joined(separator: "; ")

    private let page: ServedDocument
    /// By name; nil when Swagger UI is not installed.
    private let documents: [String: ServedDocument]?

    /// Reads the files.
    ///
    /// - Parameter folder: where Swagger UI's files are; nil when it is not installed.
    /// - Throws: `SettingsError` when one of them cannot be read.
    init(folder: String?) throws {
        page = ServedDocument(
            PackageResources.swagger_ui_html,
            contentType: "text/html; charset=utf-8",
            headers: [.contentSecurityPolicy: SwaggerUIRoutes.contentSecurityPolicy]
        )
        guard let folder else {
            documents = nil
            return
        }
        var documents: [String: ServedDocument] = [:]
        for (name, contentType) in SwaggerUIRoutes.files {
            let bytes = try SwaggerUIRoutes.read(name, in: folder)
            documents[name] = ServedDocument(bytes, contentType: contentType)
        }
        documents["swagger-ui-start.js"] = ServedDocument(
            PackageResources.swagger_ui_start_js,
            contentType: "text/javascript; charset=utf-8"
        )
        self.documents = documents
    }

    func add(to router: Router<APIContext>) {
        router.get("/docs") { request, _ in
            _ = try installed()
            return page.response(to: request)
        }
        router.get("/docs/:file") { request, context in
            guard let document = try installed()[try context.parameters.require("file")] else {
                throw HTTPError(.notFound)
            }
            return document.response(to: request)
        }
    }

    private func installed() throws -> [String: ServedDocument] {
        if let documents { return documents }
        throw Problem(
            status: 404,
            code: "docs_not_installed",
            title: "Swagger UI is not installed here",
            detail: "the description is at /openapi.json; ops/dev/swagger-ui fetches Swagger UI's files, "
                + "and SWAGGER_UI_DIR names their folder"
        )
    }

    private static func read(_ name: String, in folder: String) throws -> Data {
        let path = URL(filePath: folder, directoryHint: .isDirectory).appending(path: name)
        guard let file = try? FileHandle(forReadingFrom: path),
            let bytes = try? file.read(upToCount: maximumFileSize + 1), bytes.count <= maximumFileSize
        else {
            throw SettingsError(key: "SWAGGER_UI_DIR", problem: "is a folder in which \(name) cannot be read")
        }
        return bytes
    }
}
