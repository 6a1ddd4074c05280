import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// What is wrong with one field of a request.
struct FieldProblem: Error, Encodable, Equatable {
    let field: String
    let code: String
    let detail: String
}

/// A refusal, answered as RFC 9457 `application/problem+json`.
struct Problem: Error {
    let status: HTTPResponse.Status
    let code: String
    let detail: String
    var errors: [FieldProblem] = []
    var headers: HTTPFields = [:]

    private struct Body: Encodable {
        let type: String
        let title: String
        let status: Int
        let detail: String
        let code: String
        let requestId: String
        let errors: [FieldProblem]?
    }

    func response(requestID: String) throws -> Response {
        let body = Body(
            type: "/problems/\(code)",
            // A status made from a number has no phrase.
            title: status.reasonPhrase.isEmpty ? "Refused" : status.reasonPhrase,
            status: status.code,
            detail: detail,
            code: code,
            requestId: requestID,
            errors: errors.isEmpty ? nil : errors
        )
        var response = try Response.json(body, status: status, contentType: "application/problem+json")
        response.headers.append(contentsOf: headers)
        return response
    }

    /// The refusal of a body that is not JSON.
    static let malformed = Problem(status: .badRequest, code: "malformed_json", detail: "The body is not JSON.")

    /// The refusal of a body that the JSON decoder did not take.
    static func decoding(_ error: any Error) -> Problem {
        let (path, detail): ([any CodingKey], String)
        switch error {
        case let error as FieldProblem:
            return .invalid([error])
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            (path, detail) = (context.codingPath, "has the wrong type")
        case DecodingError.keyNotFound(let key, let context):
            (path, detail) = (context.codingPath + [key], "is required")
        case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
            (path, detail) = (context.codingPath, "is not readable")
        default:
            return malformed
        }
        let field = path.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined()
        return .invalid([FieldProblem(field: String(field.trimmingPrefix(".")), code: "invalid", detail: detail)])
    }

    /// The refusal of a body that is JSON but breaks the rules.
    static func invalid(_ errors: [FieldProblem]) -> Problem {
        Problem(
            status: .unprocessableContent,
            code: "validation_failed",
            detail: "The request has \(errors.count) invalid field\(errors.count == 1 ? "" : "s").",
            errors: errors
        )
    }
}

extension Response {
    /// An answer whose body is the value as JSON.
    static func json(
        _ value: some Encodable,
        status: HTTPResponse.Status = .ok,
        contentType: String = "application/json"
    ) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let body = ByteBuffer(bytes: try encoder.encode(value))
        return Response(status: status, headers: [.contentType: contentType], body: ResponseBody(byteBuffer: body))
    }
}

/// Answers every error as problem+json.
struct ProblemMiddleware: RouterMiddleware {
    typealias Context = PlatformContext

    @concurrent func handle(
        _ request: Request,
        context: PlatformContext,
        next: @concurrent (Request, PlatformContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as Problem {
            return try problem.response(requestID: context.id)
        } catch let error as any HTTPResponseError {
            let code = error.status.reasonPhrase.lowercased().replacing(" ", with: "_")
            let problem = Problem(status: error.status, code: code, detail: error.status.reasonPhrase)
            return try problem.response(requestID: context.id)
        } catch {
            context.logger.error("request failed", metadata: ["error": "\(error)"])
            let problem = Problem(status: .internalServerError, code: "internal", detail: "The platform failed.")
            return try problem.response(requestID: context.id)
        }
    }
}
