import Foundation
import HTTPTypes
import Hummingbird
import Logging
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

/// Turns everything that is thrown into `application/problem+json`; nobody sees a stack trace or an empty 500.
struct Problems: RouterMiddleware {
    private static let maximumURLBytes = 8 * 1024

    /// Where the refusals of requests with an idempotency key are remembered.
    let pool: PostgresPool

    func handle(
        _ request: Request,
        context: APIContext,
        next: @concurrent (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        do {
            try Problems.check(target: request.head.path ?? "")
            return try await next(request, context)
        } catch let refusal as KeyedRefusal {
            return await response(to: refusal, request, context)
        } catch {
            return Problems.response(to: error, request, context)
        }
    }

    /// What is the client's mistake is remembered under its key; what is not may be different the next time.
    private func response(to refusal: KeyedRefusal, _ request: Request, _ context: APIContext) async -> Response {
        var problem = Problems.problem(for: refusal.reason, request, context.logger)
        problem.requestId = context.requestID
        guard (400..<500).contains(problem.status), problem.status != 429 else { return Problems.response(problem) }
        do {
            let now = Date().wholeMilliseconds
            return try await .once(refusal.claim, at: now, in: pool, deadline: context.deadline) { [problem] _ in
                .refused(problem)
            }
        } catch {
            return Problems.response(to: error, request, context)
        }
    }

    private static func response(to error: any Error, _ request: Request, _ context: APIContext) -> Response {
        var problem = problem(for: error, request, context.logger)
        problem.requestId = context.requestID
        var response = response(problem)
        if let refusal = error as? MethodNotAllowed { response.headers[.allow] = refusal.allow }
        return response
    }

    private static func response(_ problem: Problem) -> Response {
        var headers: HTTPFields = [.contentType: "application/problem+json", .cacheControl: "no-store"]
        if let seconds = problem.retryAfterSeconds { headers[.retryAfter] = "\(seconds)" }
        return Response(
            status: HTTPResponse.Status(code: problem.status),
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: problem.json))
        )
    }

    /// - Throws: `Problem` when the target of a request cannot be read.
    private static func check(target: String) throws {
        guard target.utf8.count <= Problems.maximumURLBytes else { throw Problem.urlTooLong }
        // Nil when a % stands before no number, or the bytes that are meant are no UTF-8.
        guard !target.utf8.contains(UInt8(ascii: "%")) || target.removingPercentEncoding != nil else {
            throw Problem.urlMalformed
        }
    }

    private static func problem(for error: any Error, _ request: Request, _ logger: Logger) -> Problem {
        switch error {
        case let problem as Problem: problem
        case let failure as ValidationFailure: .validation(failure)
        case let body as MalformedBody: .malformed(body)
        case is MethodNotAllowed: .methodNotAllowed(request)
        case is RequestTooSlow: .requestTimeout
        case is RequestMalformed: .requestMalformed
        case is UserStore.EmailTaken:
            Problem(
                status: 409,
                code: "email_taken",
                title: "The e-mail address is taken",
                detail: "another user has this e-mail address"
            )
        case let error as PostgresError: database(error, logger)
        case let error as any HTTPResponseError: http(error.status, request)
        default: unexpected(error, logger)
        }
    }

    private static func database(_ error: PostgresError, _ logger: Logger) -> Problem {
        switch error.code {
        case .commitOutcomeUnknown:
            return .unavailable(
                "outcome_unknown",
                "the database was lost while it committed; look whether it was done before sending it again",
                retryAfterSeconds: 5
            )
        case .invalidParameter:
            return Problem(
                status: 422,
                code: "validation_failed",
                title: "The request is not valid",
                detail: "a text of the request holds a character that cannot be stored"
            )
        case .poolExhausted, .timedOut, .connectFailed, .connectionLost:
            logger.warning("database unavailable", metadata: ["error": "\(error)"])
            return .unavailable("database_unavailable", "the database cannot be reached; try again")
        default:
            return error.isRetryable
                ? .unavailable("database_unavailable", "the database is busy; try again") : unexpected(error, logger)
        }
    }

    private static func http(_ status: HTTPResponse.Status, _ request: Request) -> Problem {
        switch status {
        case .notFound:
            Problem(
                status: 404,
                code: "route_not_found",
                title: "There is no such route",
                detail: "\(request.method.rawValue) \(request.uri.path.prefix(200)) is not served here"
            )
        case .contentTooLarge:
            Problem(status: 413, code: "body_too_large", title: "The body is too large", detail: "the limit is 64 KiB")
        default:
            Problem(
                status: status.code,
                code: "http_\(status.code)",
                title: status.reasonPhrase,
                detail: "the request was refused: \(status.reasonPhrase.lowercased())"
            )
        }
    }

    private static func unexpected(_ error: any Error, _ logger: Logger) -> Problem {
        logger.error("request failed", metadata: ["error": "\(String(reflecting: error))"])
        return Problem(
            status: 500,
            code: "internal_error",
            title: "Something went wrong here",
            detail: "the failure has been logged under this request id"
        )
    }
}

extension Problem {
    fileprivate static let urlTooLong = Problem(
        status: 414,
        code: "url_too_long",
        title: "The URL is too long",
        detail: "the limit is 8 KiB"
    )

    fileprivate static let urlMalformed = Problem(
        status: 400,
        code: "malformed_url",
        title: "The URL cannot be read",
        detail: "a % must stand before two hexadecimal digits, and what is meant must be UTF-8; % itself is %25"
    )

    fileprivate static let requestMalformed = Problem(
        status: 400,
        code: "malformed_request",
        title: "The request cannot be read",
        detail: "its body is not framed as HTTP has it"
    )

    fileprivate static let requestTimeout = Problem(
        status: 408,
        code: "request_timeout",
        title: "The request took too long to arrive",
        detail: "a request must have arrived whole within 10 seconds"
    )

    fileprivate static func methodNotAllowed(_ request: Request) -> Problem {
        Problem(
            status: 405,
            code: "method_not_allowed",
            title: "The method is not allowed here",
            detail: "\(request.method.rawValue.prefix(32)) is not among the methods that Allow lists"
        )
    }
}
