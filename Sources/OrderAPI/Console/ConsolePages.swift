import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import OrderMessages
import ServiceRuntime

/// The console's page with its styles and modules, and the page to sign in; all of it is part of the executable.
struct ConsolePages {
    /// Everything from here alone, nothing within the page, and no text that becomes markup.
    static let contentSecurityPolicy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
        "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ].joined(separator: "; ")

    private static let javaScript = "text/javascript; charset=utf-8"
    private static let html = "text/html; charset=utf-8"
    /// The largest body of a sign-in, in bytes.
    private static let maximumFormBytes = 2_048

    let access: OperatorAccess
    private let page = PackageResources.console_html
    /// By name.
    private let assets = [
        "console.css": ServedDocument(PackageResources.console_css, contentType: "text/css; charset=utf-8"),
        "console.svg": ServedDocument(PackageResources.console_svg, contentType: "image/svg+xml"),
        "console.js": ServedDocument(PackageResources.console_js, contentType: javaScript),
        "chart.js": ServedDocument(PackageResources.chart_js, contentType: javaScript),
        "letters.js": ServedDocument(PackageResources.letters_js, contentType: javaScript),
        "page.js": ServedDocument(PackageResources.page_js, contentType: javaScript),
        "pipeline.js": ServedDocument(PackageResources.pipeline_js, contentType: javaScript),
        "platform.js": ServedDocument(PackageResources.platform_js, contentType: javaScript),
        "trace.js": ServedDocument(PackageResources.trace_js, contentType: javaScript),
    ]

    init(access: OperatorAccess) {
        self.access = access
    }

    func add(to router: Router<APIContext>) {
        router.get("/") { _, _ in Self.redirect(to: "/console") }
        router.get("/console") { request, _ in
            guard try access.proof(of: request, at: Date()) != nil else { return Self.redirect(to: "/console/sign-in") }
            return Self.answer(String(decoding: page, as: UTF8.self))
        }
        router.get("/console/sign-in") { _, _ in Self.signInPage() }
        router.post("/console/sign-in", use: signIn)
        router.post("/console/sign-out") { request, _ in
            guard !OperatorAccess.isFromElsewhere(request) else { throw Problem.fromElsewhere }
            var response = Self.redirect(to: "/console/sign-in")
            response.setCookie(access.noCookie)
            return response
        }
        router.get("/console/assets/:file") { request, context in
            guard let asset = assets[try context.parameters.require("file")] else { throw HTTPError(.notFound) }
            return asset.response(to: request)
        }
    }

    private func signIn(_ request: Request, _ context: APIContext) async throws -> Response {
        guard !OperatorAccess.isFromElsewhere(request) else { throw Problem.fromElsewhere }
        let body = String(buffer: try await request.collectBody(limit: Self.maximumFormBytes))
        guard try access.isToken(Self.token(inForm: body)) else {
            context.logger.warning("somebody tried to sign in at the console with a wrong token")
            return Self.signInPage(problem: "This is not the operator’s token.", status: .unauthorized)
        }
        var response = Self.redirect(to: "/console")
        response.setCookie(access.cookie(at: Date()))
        return response
    }

    /// The field `token` of a form, as `application/x-www-form-urlencoded` has it.
    private static func token(inForm body: String) -> String {
        let field = body.split(separator: "&").first { $0.hasPrefix("token=") }?.dropFirst("token=".count) ?? ""
        return field.replacing("+", with: " ").removingPercentEncoding ?? ""
    }

    private static func signInPage(problem: String = "", status: HTTPResponse.Status = .ok) -> Response {
        let text = String(decoding: PackageResources.sign_in_html, as: UTF8.self)
        return answer(text.replacing("{{problem}}", with: problem), status: status)
    }

    private static func answer(_ page: String, status: HTTPResponse.Status = .ok) -> Response {
        let headers: HTTPFields = [.contentType: html, .cacheControl: "no-store"]
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: page)))
    }

    private static func redirect(to path: String) -> Response {
        Response(status: .seeOther, headers: [.location: path, .cacheControl: "no-store"])
    }
}

/// What every answer of the operator's port says to browsers.
struct ConsoleHeaders: RouterMiddleware {
    private static let headers: [(HTTPField.Name?, String)] = [
        (.contentSecurityPolicy, ConsolePages.contentSecurityPolicy),
        (.xContentTypeOptions, "nosniff"),
        (HTTPField.Name("X-Frame-Options"), "DENY"),
        (HTTPField.Name("Referrer-Policy"), "same-origin"),
        (HTTPField.Name("Cross-Origin-Opener-Policy"), "same-origin"),
        (HTTPField.Name("Cross-Origin-Resource-Policy"), "same-origin"),
    ]

    func handle(
        _ request: Request,
        context: APIContext,
        next: @concurrent (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        var response = try await next(request, context)
        for (name, value) in Self.headers {
            if let name { response.headers[name] = value }
        }
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
        return response
    }
}
